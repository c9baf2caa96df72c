"""Live figures of the real processes while workers die under load: never a part, never back."""

import json
import os
import signal
import subprocess
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Producer

from schemas.instants import parse_instant
from tests.integration.system import COMMAND, System, running, wait_until

pytestmark = pytest.mark.timeout(300)

BATCH = 20


class Load:
    """Events in small batches by a thread of its own, and when each batch was acknowledged."""

    def __init__(self, system: System) -> None:
        self._client = system.client()
        self._stopping = threading.Event()
        self.sent = 0
        self.acknowledged: list[int] = []  # unix ms, a batch each
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._client.close()

    def accepted_before(self, instant: int) -> int:
        return BATCH * bisect_left(self.acknowledged, instant)

    def _run(self) -> None:
        while not self._stopping.wait(0.02):
            # Each by somebody else, so that all partitions have their share.
            batch = [{"event": "sale", "userId": f"u{self.sent + number}"} for number in range(BATCH)]
            self.sent += BATCH
            answer = self._client.post("/api/v1/events/batch", json={"events": batch})
            assert answer.status_code == 200, answer.text
            self.acknowledged.append(time.time_ns() // 1_000_000)


class Watch:
    """Polls, and what holds of each of them."""

    def __init__(self, system: System, load: Load) -> None:
        self._load = load
        self._client = system.client()
        self._before: dict[str, Any] = {}
        self._total = 0.0
        self.states: list[str] = []

    def poll(self) -> dict[str, Any]:
        figures: dict[str, Any] = self._client.get("/api/v1/realtime", params={"minutes": 60}).json()
        sent = self._load.sent
        del figures["recent"], figures["ageSeconds"]
        before = self._before
        if figures["asOf"] is not None:
            as_of = parse_instant(figures["asOf"])
            assert self._load.accepted_before(as_of) <= figures["events"] <= sent, figures["state"]
            assert before.get("asOf") is None or as_of >= parse_instant(before["asOf"])
            if figures["state"] == before.get("state") != "live" and figures["asOf"] == before["asOf"]:
                assert figures == before
            if figures["state"] == "live" and before.get("state") != "live":
                assert time.time() * 1000 - as_of < 12_000, "what is called live is fresh"
        else:
            assert (figures["events"], figures["state"] == "live") == (0, False)
        assert figures["events"] >= before.get("events", 0), (before.get("state"), figures["state"])
        if figures["state"] != before.get("state"):
            self.states.append(figures["state"])
        self._before = figures
        self._scrape()
        return figures

    def close(self) -> None:
        self._client.close()

    def _scrape(self) -> None:
        page = self._client.get("/api/v1/realtime/prometheus").text
        [line] = [line for line in page.splitlines() if line.startswith("streamgauge_project_events_total{")] or [""]
        if line:
            total = float(line.split()[-1])
            assert total >= self._total
            self._total = total


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running(tmp_path_factory.mktemp("live") / "data", workers="2") as system:
        system.initialise()
        yield system


def test_what_a_worker_refuses_is_shown_within_a_second(system: System) -> None:
    broker = json.loads((system.data / "run" / "broker.json").read_text())
    producer = Producer({"bootstrap.servers": f"127.0.0.1:{broker['port']}"})
    shown: list[tuple[float, dict[str, Any]]] = []
    command = [COMMAND, "tail", "--rejects", "--data-dir", str(system.data)]

    def read(lines: Iterator[str]) -> None:
        shown.extend((time.monotonic(), json.loads(line)) for line in lines)

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "waiting for refused items" in process.stderr.readline()
        reader = threading.Thread(target=read, args=(process.stdout,))
        reader.start()
        waits = []
        for number in range(4):
            sent = time.monotonic()
            producer.produce("streamgauge.events", b"not json", partition=0)
            assert producer.flush(10) == 0
            wait_until(lambda number=number: len(shown) > number, 15, system.logs)  # type: ignore[misc]
            waits.append(shown[number][0] - sent)
        process.terminate()
        reader.join()
    assert {(line["partition"], line["reason"]) for _, line in shown} == {(0, "malformed")}
    assert sorted(waits)[1] < 1, waits  # the first may come before it is connected, and from the lake


def test_figures_stay_whole_while_workers_die(system: System) -> None:
    load = Load(system)
    watch = Watch(system, load)
    try:
        wait_until(lambda: watch.poll()["events"] > 0 and watch.states[-1] == "live", 60, system.logs)
        for name in ("worker-0", "worker-1"):
            known = len(watch.states)
            os.kill(system.pid(name), signal.SIGKILL)
            # It is missed, and comes back.
            wait_until(lambda known=known: watch.poll() and len(watch.states) > known, 60, system.logs)  # type: ignore[misc]
            wait_until(lambda: watch.poll()["state"] == "live", 120, system.logs)
        load.stop()
        wait_until(lambda: watch.poll()["events"] == load.sent, 30, system.logs)
    finally:
        load.stop()
        watch.close()
