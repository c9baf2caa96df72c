"""The live topic read from a real broker."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # not in the library's stubs

from api.log.live import LiveReader
from schemas.live import LiveMessage, Refusal, encode_live, live_key
from schemas.topics import LIVE_TOPIC_CONFIG
from storage.broker.process import Broker
from tests.api.live.messages import slot, status, totals
from tests.api.serving import wait_until


class Collector:
    """What a reader gave, and how often it said that this was all."""

    def __init__(self) -> None:
        self.messages: list[LiveMessage] = []
        self.at_end: list[int] = []

    def deliver(self, messages: Sequence[LiveMessage]) -> None:
        self.messages += messages

    def end(self) -> None:
        self.at_end.append(len(self.messages))


@contextlib.contextmanager
def reading(servers: str, topic: str) -> Iterator[Collector]:
    reader, collector = LiveReader({"bootstrap.servers": servers}, topic), Collector()
    reader.start(collector.deliver, collector.end)
    try:
        yield collector
    finally:
        reader.stop()
    assert not any(thread.name == "live-reader" for thread in threading.enumerate())


def create(servers: str, topic: str, partitions: int = 1) -> None:
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(topic, partitions, 1, config=LIVE_TOPIC_CONFIG)])[topic].result(30)


def publish(servers: str, topic: str, *messages: LiveMessage, partition: int = 0, raw: bytes | None = None) -> None:
    producer = Producer({"bootstrap.servers": servers})
    for message in messages:
        producer.produce(topic, encode_live(message), live_key(message), partition=partition)
    if raw is not None:
        producer.produce(topic, raw, b"status/9", partition=partition)
    assert producer.flush(30) == 0


@pytest.fixture
def topic() -> str:
    return f"live-{uuid4().hex}"


def test_everything_there_is_given_before_the_end_and_what_comes_later_after_it(kafka: str, topic: str) -> None:
    now = int(time.time())
    before: list[LiveMessage] = [
        status(now * 1000),
        *(slot(now, position=number) for number in range(1, 1200)),
        totals(5),
    ]
    create(kafka, topic)
    publish(kafka, topic, *before)
    with reading(kafka, topic) as found:
        wait_until(lambda: found.at_end)
        assert found.at_end == [len(before)]
        assert found.messages == before
        publish(kafka, topic, status(now * 1000 + 1))
        wait_until(lambda: len(found.messages) == len(before) + 1)
        assert found.at_end == [len(before)]


def test_an_empty_topic_is_at_its_end(kafka: str, topic: str) -> None:
    create(kafka, topic)
    with reading(kafka, topic) as found:
        wait_until(lambda: found.at_end == [0])


def test_all_partitions_must_be_at_their_end(kafka: str, topic: str) -> None:
    now = int(time.time())
    create(kafka, topic, partitions=3)
    for partition in range(3):
        publish(kafka, topic, status(now * 1000, partition=partition), partition=partition)
    with reading(kafka, topic) as found:
        wait_until(lambda: found.at_end)
        assert found.at_end == [3]


def test_slots_that_no_answer_reaches_are_passed_over(kafka: str, topic: str) -> None:
    now = int(time.time())
    create(kafka, topic)
    publish(kafka, topic, slot(now - 40 * 3600), totals(1), slot(now))
    with reading(kafka, topic) as found:
        wait_until(lambda: found.at_end)
        assert found.messages == [totals(1), slot(now)]


def test_refusals_are_for_others(kafka: str, topic: str) -> None:
    refusal = Refusal("c/t", 0, 9, 1, 1_771_800_000_000, "malformed", "Malformed JSON", None)
    create(kafka, topic)
    publish(kafka, topic, refusal, totals(1))
    with reading(kafka, topic) as collector:
        wait_until(lambda: bool(collector.at_end))
    assert collector.messages == [totals(1)]


def test_what_is_no_live_record_is_passed_over(kafka: str, topic: str, caplog: pytest.LogCaptureFixture) -> None:
    create(kafka, topic)
    publish(kafka, topic, totals(1), raw=b"not a live record")
    publish(kafka, topic, totals(2), raw=b"")
    with reading(kafka, topic) as found:
        wait_until(lambda: found.at_end)
        assert found.messages == [totals(1), totals(2)]
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == ["not a live record"]


def test_a_topic_that_is_made_later_is_found(kafka: str, topic: str, caplog: pytest.LogCaptureFixture) -> None:
    with reading(kafka, topic) as found:
        wait_until(lambda: "waiting for topic" in caplog.text)
        create(kafka, topic)
        publish(kafka, topic, totals(1))
        wait_until(lambda: found.messages == [totals(1)])


def test_a_view_that_fails_is_given_everything_again(kafka: str, topic: str, caplog: pytest.LogCaptureFixture) -> None:
    create(kafka, topic)
    publish(kafka, topic, totals(1))
    failures = iter([RuntimeError("view away")])
    collector = Collector()

    def deliver(messages: Sequence[LiveMessage]) -> None:
        for error in failures:
            raise error
        collector.deliver(messages)

    reader = LiveReader({"bootstrap.servers": kafka}, topic)
    reader.start(deliver, collector.end)
    try:
        wait_until(lambda: collector.at_end == [1])
    finally:
        reader.stop()
    assert "live topic not read, starting again" in caplog.text


def test_a_reader_goes_on_after_the_broker_was_killed(own_broker: Broker, topic: str) -> None:
    servers = own_broker.bootstrap_servers
    create(servers, topic)
    publish(servers, topic, totals(1))
    with reading(servers, topic) as found:
        wait_until(lambda: found.messages == [totals(1)])
        own_broker.kill()
        own_broker.start()
        assert own_broker.bootstrap_servers == servers
        publish(servers, topic, totals(2, position=2))
        wait_until(lambda: totals(2, position=2) in found.messages, 60)


def test_a_reader_stops_while_there_is_no_broker(topic: str) -> None:
    with reading("127.0.0.1:1", topic) as found:
        pass
    assert found.messages == []
