"""B6: from an accepted event to the live counter, and to a row that a query returns."""

import time
import uuid
from collections.abc import Callable

import httpx

from benchmarks.figures import Figure, below
from benchmarks.run import Pair
from benchmarks.stacks import Client, Ours, RunVoid

_PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.02


def measure(pair: Pair) -> list[Figure]:
    """Waits of single probes, alone and beside a load; seconds."""
    ours, form = pair.ours, pair.run.form
    figures = []
    for load in (0, 10_000):
        client = None
        if load:
            seconds = form.probes * 8.0
            client = Client(
                pair.load(ours, 100, seconds, connections=8, rate=load / 100, requests=int(seconds * load / 100) + 1)
            )
            client.start()
        counter, lake = _probe(ours, form.probes)
        if client is not None:
            ours.accepted += client.finish().events
        workload = f"beside {load:,} events/s"
        figures += [
            below("B6", workload, "to counter, s", counter, 1.0),
            below("B6", workload, "to query, s", lake, 7.0),
        ]
    return figures


def _probe(ours: Ours, probes: int) -> tuple[list[float], list[float]]:
    counter, lake = [], []
    # Two words, and the load's eight, are all among the ten that a poll names; the lake may hold earlier probes.
    name = f"probe-{uuid.uuid4().hex[:12]}"
    headers = {"X-API-Key": ours.keys[0]}
    with httpx.Client(base_url=f"http://127.0.0.1:{ours.port}", headers=headers, timeout=10) as client:

        def counted() -> int:
            top = client.get("/api/v1/realtime", params={"minutes": 30}).json()["topEvents"]
            return sum(entry["count"] for entry in top if entry["name"] == name)

        def listed() -> int:
            total: int = client.get("/api/v1/events", params={"event": name}).json()["meta"]["total"]
            return total

        for number in range(1, probes + 1):
            client.post("/api/v1/events", json={"event": name, "userId": name}).raise_for_status()
            ours.accepted += 1
            accepted = time.perf_counter()
            _wait(lambda number=number: counted() == number)  # type: ignore[misc]
            counter.append(time.perf_counter() - accepted)
            _wait(lambda number=number: listed() == number)  # type: ignore[misc]
            lake.append(time.perf_counter() - accepted)
    return counter, lake


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + _PATIENCE_SECONDS
    while not condition():
        if time.perf_counter() > deadline:
            raise RunVoid("a probe was accepted and not seen")
        time.sleep(_POLL_SECONDS)
