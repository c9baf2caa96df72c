"""The door before a real log: what is answered is kept, also when the broker dies."""

import itertools
import json
import os
import resource
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from api.app import assemble
from api.settings import ApiSettings
from schemas.records import minted_id
from schemas.topics import partition_of
from storage.broker.process import Broker
from tests.api.log.kafka import create_topic, read_topic, topic
from tests.api.serving import KEYS, run_app, wait_until
from tests.fakes import FakeKeys, Record

EVENTS, BATCH = "/api/v1/events", "/api/v1/events/batch"


@contextmanager
def serve(directory: Path, servers: str, name: str, delivery_seconds: float = 5) -> Iterator[httpx.Client]:
    """The API on a real log, with fake keys, as soon as the log takes events."""
    settings = ApiSettings(
        data_dir=directory, kafka_bootstrap_servers=servers, kafka_topic=name, delivery_seconds=delivery_seconds
    )
    keys = FakeKeys(dict(KEYS))
    services = assemble(settings, keys=keys, find_project=keys.find_project)
    with run_app(services) as (url, _), httpx.Client(base_url=url, headers={"X-API-Key": "sg_admin"}) as client:
        wait_until(lambda: services.door.refusal is None, 30, "the log")
        yield client


def ids_of(records: list[Record]) -> dict[str, tuple[int, bytes]]:
    """Every event in the log by its id: partition and bytes."""
    found: dict[str, tuple[int, bytes]] = {}
    for record in records:
        for segment in record.segments():
            for place, line in enumerate(segment.lines):
                given = segment.header.ids[place] if segment.header.ids else None
                id_ = json.loads(line).get("eventId") or given or minted_id(segment.header.base, place)
                assert id_ not in found
                found[id_] = (record.partition, line)
    return found


def test_what_is_answered_is_in_the_log(kafka: str, tmp_path: Path) -> None:
    with topic(kafka, 4) as name:
        sent: dict[str, tuple[str, bytes]] = {}
        with serve(tmp_path, kafka, name) as client:
            for place in range(30):
                user = f"u{place}" if place % 3 else ""
                body = json.dumps({"event": "single", "userId": user, "properties": {"n": place}}).encode()
                sent[client.post(EVENTS, content=body).json()["eventId"]] = (user, body)
            users = [f"u{place}" if place % 2 else "" for place in range(1000)]
            bodies = [json.dumps({"event": "many", "userId": user, "properties": {"é": "x" * 1000}}) for user in users]
            answer = client.post(BATCH, content="\n".join(bodies)).json()
            assert (answer["accepted"], answer["rejected"]) == (1000, 0)
            sent |= {
                id_: (user, body.encode()) for id_, user, body in zip(answer["eventIds"], users, bodies, strict=True)
            }
        records = read_topic(kafka, name)
        assert max(len(record.value) for record in records) <= 256 * 1024
        assert ids_of(records) == {id_: (partition_of(7, user, id_, 4), body) for id_, (user, body) in sent.items()}


class Senders:
    """Clients that send one event after another until they are told to stop."""

    def __init__(self, client: httpx.Client, count: int = 4) -> None:
        self._client = client
        self._numbers = itertools.count()
        self._is_done = threading.Event()
        self.accepted: list[str] = []
        self.refused: list[httpx.Response] = []
        self.broken: list[httpx.TransportError] = []
        self._threads = [threading.Thread(target=self._send) for _ in range(count)]

    def __enter__(self) -> "Senders":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_done.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        while not self._is_done.is_set():
            event = {"event": "a", "userId": f"u{next(self._numbers)}", "eventId": str(uuid.uuid4())}
            try:
                response = self._client.post(EVENTS, json=event, timeout=20)
            except httpx.TransportError as error:
                self.broken.append(error)
                return
            if response.status_code == 200:
                self.accepted.append(response.json()["eventId"])
            else:
                self.refused.append(response)
                time.sleep(0.02)


def test_a_dead_broker_is_told_at_once_and_nothing_accepted_is_lost(own_broker: Broker, tmp_path: Path) -> None:
    name = "events"
    create_topic(own_broker.bootstrap_servers, name, 4)
    with serve(tmp_path / "api", own_broker.bootstrap_servers, name) as client:
        with Senders(client) as senders:
            wait_until(lambda: len(senders.accepted) >= 50)
            own_broker.kill()
            wait_until(lambda: len(senders.refused) >= 20, what="refusals")
            assert all(response.status_code == 503 for response in senders.refused)
            assert all(1 <= int(response.headers["retry-after"]) <= 5 for response in senders.refused)
            # Those too that waited as it died. The promise is 100 ms; a busy machine may hold up any single request.
            seconds = sorted(response.elapsed.total_seconds() for response in senders.refused)
            assert seconds[len(seconds) // 2] < 0.1
            assert seconds[-1] < 0.5
            assert client.get("/health/live").status_code == 200
            wait_until(lambda: client.get("/health/ready").status_code == 503, what="unreadiness")
            before = len(senders.accepted)
            own_broker.start()
            wait_until(lambda: len(senders.accepted) > before + 50, 60, "recovery")
        assert senders.broken == []
        kept = ids_of(read_topic(own_broker.bootstrap_servers, name))
    assert set(senders.accepted) <= set(kept)
    assert len(senders.accepted) == len(set(senders.accepted))


def test_a_frozen_broker_is_told_at_the_deadline_and_then_at_once(own_broker: Broker, tmp_path: Path) -> None:
    name = "events"
    create_topic(own_broker.bootstrap_servers, name, 4)
    assert own_broker.pid is not None
    with serve(tmp_path / "api", own_broker.bootstrap_servers, name, delivery_seconds=2) as client:
        with Senders(client) as senders:
            wait_until(lambda: len(senders.accepted) >= 50)
            os.kill(own_broker.pid, signal.SIGSTOP)
            try:
                wait_until(lambda: len(senders.refused) >= 20, what="refusals")
                first, later = senders.refused[:4], senders.refused[4:]
                assert all(response.status_code == 503 for response in senders.refused)
                # librdkafka looks at deadlines once a second.
                assert max(response.elapsed.total_seconds() for response in first) < 3.5
                assert sorted(response.elapsed.total_seconds() for response in later)[len(later) // 2] < 0.1
                before = len(senders.accepted)
            finally:
                os.kill(own_broker.pid, signal.SIGCONT)
            wait_until(lambda: len(senders.accepted) > before + 50, 60, "recovery")
        assert senders.broken == []
        kept = {
            json.loads(line)["eventId"]
            for record in read_topic(own_broker.bootstrap_servers, name)
            for segment in record.segments()
            for line in segment.lines
        }
    assert set(senders.accepted) <= kept


def test_memory_stays_flat_while_the_log_is_away(own_broker: Broker, tmp_path: Path) -> None:
    create_topic(own_broker.bootstrap_servers, "events", 4)
    with serve(tmp_path / "api", own_broker.bootstrap_servers, "events") as client:
        own_broker.kill()
        wait_until(lambda: client.post(EVENTS, json={"event": "a"}, timeout=20).status_code == 503)
        batch = json.dumps([{"event": "a", "properties": {"x": "y" * 4000}}] * 1000).encode()
        seconds, before = [], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        wait_until(lambda: client.post(EVENTS, json={"event": "a"}).status_code == 503)
        for _ in range(60):
            started = time.monotonic()
            assert client.post(EVENTS, json={"event": "a"}).status_code == 503
            seconds.append(time.monotonic() - started)
            assert client.post(BATCH, content=batch).status_code == 503
        # The middle one: a busy machine may hold up any single request.
        assert sorted(seconds)[len(seconds) // 2] < 0.1
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
