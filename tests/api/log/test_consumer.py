"""Looking into the log of a real broker."""

import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from api.log.consumer import LogReader, RefusalReader
from api.log.reading import LoggedEvent
from schemas.live import LiveMessage, PartitionStatus, Refusal, encode_live, live_key
from schemas.records import SegmentHeader, encode_segment, record_headers
from storage.broker.process import Broker
from storage.errors import Unavailable


class Log:
    """A topic of its own with two partitions."""

    def __init__(self, servers: str) -> None:
        self.connection: dict[str, str | int | float | bool] = {"bootstrap.servers": servers}
        self.topic = f"events-{uuid4()}"
        self._admin = AdminClient(dict(self.connection))
        self._admin.create_topics([NewTopic(self.topic, 2, 1)])[self.topic].result(30)
        self._producer = Producer(dict(self.connection))

    def append(self, partition: int, *lines: bytes, project: int = 1) -> None:
        """One record of ours."""
        value = encode_segment(SegmentHeader(len(lines), project, 1_771_800_000_000, "0" * 12, "api"), lines)
        self._producer.produce(self.topic, value, partition=partition, headers=dict(record_headers(len(lines), "door")))
        assert self._producer.flush(30) == 0

    def append_foreign(self, partition: int, value: bytes) -> None:
        """One record of another producer."""
        self._producer.produce(self.topic, value, partition=partition)
        assert self._producer.flush(30) == 0

    def append_keyed(self, key: bytes, value: bytes) -> None:
        self._producer.produce(self.topic, value, key, partition=0)
        assert self._producer.flush(30) == 0

    def reader(self, find_seconds: float = 20) -> LogReader:
        return LogReader(self.connection, self.topic, find_seconds)

    def close(self) -> None:
        self._admin.delete_topics([self.topic])[self.topic].result(30)


@pytest.fixture
def log(kafka: str) -> Iterator[Log]:
    log = Log(kafka)
    yield log
    log.close()


def test_event_is_found_after_the_position_and_only_there(log: Log) -> None:
    log.append(0, b'{"event":"old","eventId":"old"}')
    log.append(0, b'{"event":"a","eventId":"first"}', b'{"event":"b","eventId":"second"}')
    log.append(1, b'{"event":"c","eventId":"other"}', project=2)
    reader = log.reader()
    found = reader.find(1, "second", {0: 1})
    assert found is not None
    assert (found.state, found.partition, found.offset, found.index, found.event) == ("in_log", 0, 1, 1, "b")
    assert reader.find(1, "old", {0: 1}) is None
    assert reader.find(1, "old", {}) is not None
    assert reader.find(1, "other", {}) is None
    assert reader.find(2, "other", {0: 2, 1: 0}) is not None
    assert reader.find(1, "second", {0: 2, 1: 1}) is None


def test_search_that_takes_too_long_says_so(log: Log) -> None:
    log.append(0, b'{"event":"a"}')
    with pytest.raises(Unavailable, match="too long to be searched"):
        log.reader(find_seconds=-1).find(1, "nowhere", {})


def test_topic_that_does_not_exist(log: Log) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        LogReader(log.connection, f"missing-{uuid4()}").find(1, "x", {})


def test_tail_shows_what_comes_from_now_on(log: Log) -> None:
    log.append(0, b'{"event":"before"}')
    following = log.reader().follow(pytest.fail, poll_seconds=0.05)
    assert next(following) is None  # it stands at the end now
    log.append(1, b'{"event":"a"}')
    log.append_foreign(0, b'{"event":"b","projectId":7}')
    written = time.monotonic()
    found = _events(following, 2)
    assert time.monotonic() - written < 1
    assert {(logged.project, logged.event.event, logged.partition) for logged in found} == {(1, "a", 1), (7, "b", 0)}


def test_an_outage_is_told_once_and_the_events_after_it_are_shown(own_broker: Broker) -> None:
    log = Log(own_broker.bootstrap_servers)
    for partition in (0, 1):
        log.append(partition, b'{"event":"before"}')  # both have their leaders
    troubles: list[str] = []
    following = log.reader().follow(troubles.append, poll_seconds=0.05)
    assert next(following) is None
    own_broker.kill()
    deadline = time.monotonic() + 30
    while not troubles and time.monotonic() < deadline:
        assert next(following) is None
    assert troubles == ["the log does not answer; what it takes will show when it is back"]
    own_broker.start()
    log.append(0, b'{"event":"after"}')
    assert [logged.event.event for logged in _events(following, 1)] == ["after"]
    assert len(troubles) == 1


def test_refusals_of_the_workers_from_now_on(kafka: str) -> None:
    log = Log(kafka)
    refusal = Refusal("c/t", 0, 9, 1, 1_771_800_000_000, "malformed", "Malformed JSON", None)
    with RefusalReader(log.connection, log.topic) as reader:
        status = PartitionStatus("c/t", 0, 1, 1, 1, "live", 1, 1, 1, "worker-0")
        found: list[Refusal] = []
        deadline = time.monotonic() + 20
        while not found and time.monotonic() < deadline:
            messages: list[LiveMessage] = [status, refusal]
            for message in messages:
                log.append_keyed(live_key(message), encode_live(message))
            log.append_keyed(live_key(refusal), b"of a later version")
            found = reader.fresh()
            time.sleep(0.05)  # it connects in the background
    log.close()
    assert set(found) == {refusal}


def _events(following: Iterator[LoggedEvent | None], count: int) -> list[LoggedEvent]:
    found: list[LoggedEvent] = []
    deadline = time.monotonic() + 20
    while len(found) < count and time.monotonic() < deadline:
        if (logged := next(following)) is not None:
            found.append(logged)
    following.close()  # type: ignore[attr-defined]  # a generator, whose consumer must be closed
    return found
