"""One suite of behaviour for the log, held against its double and against Kafka."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from api.errors import Cause
from api.log.producer import MESSAGE_BYTES, KafkaProducer, LogProducer, NotTaken
from schemas.records import record_headers
from storage.broker.process import Broker
from tests.api.log.kafka import create_topic, read_topic, topic
from tests.fakes import FakeProducer, Record


@dataclass(frozen=True, slots=True)
class Log:
    """A producer, and a look at what the log has."""

    producer: LogProducer
    records: Callable[[], list[Record]]


@pytest.fixture(params=["fake", "kafka"])
def log(request: pytest.FixtureRequest) -> Iterator[Log]:
    if request.param == "fake":
        fake = FakeProducer()
        yield Log(fake, lambda: sorted(fake.records, key=lambda record: record.partition))
        return
    servers = request.getfixturevalue("kafka")
    with topic(servers) as name:
        yield Log(kafka_producer(servers, name), lambda: read_topic(servers, name))


def kafka_producer(servers: str, name: str, queue_bytes: int = 64 * 1024 * 1024) -> KafkaProducer:
    return KafkaProducer({"bootstrap.servers": servers}, name, queue_bytes, delivery_seconds=3)


async def ready(producer: LogProducer, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while producer.refusal is not None:
        assert time.monotonic() < deadline, producer.refusal
        await asyncio.sleep(0.02)


def produce(producer: LogProducer, partition: int, value: bytes) -> "asyncio.Future[Cause | None]":
    done: asyncio.Future[Cause | None] = asyncio.get_running_loop().create_future()
    producer.produce(partition, value, [*record_headers(1, "door-1")], done.set_result)
    return done


class TestLog:
    def test_a_reported_record_is_in_the_log(self, log: Log) -> None:
        async def scenario() -> None:
            await log.producer.start()
            assert log.producer.refusal is None  # so a process that has started answers no 503 for it
            assert log.producer.partitions == 4
            reports = [produce(log.producer, place % 4, b"value %d" % place) for place in range(8)]
            assert [await asyncio.wait_for(report, 20) for report in reports] == [None] * 8
            assert await log.producer.probe() is None
            assert await log.producer.stop(10) == 0

        asyncio.run(scenario())
        records = log.records()
        assert [record.partition for record in records] == [0, 0, 1, 1, 2, 2, 3, 3]
        assert {record.value for record in records} == {b"value %d" % place for place in range(8)}
        assert all(record.headers == dict(record_headers(1, "door-1")) for record in records)

    def test_nothing_is_taken_before_the_start(self, log: Log) -> None:
        async def scenario() -> None:
            assert log.producer.refusal == "starting"
            with pytest.raises(NotTaken) as caught:
                produce(log.producer, 0, b"x")
            assert caught.value.cause == "starting"

        asyncio.run(scenario())

    def test_stopping_delivers_what_was_taken(self, log: Log) -> None:
        async def scenario() -> None:
            await log.producer.start()
            await ready(log.producer)
            reports = [produce(log.producer, 0, b"x") for _ in range(100)]
            assert await log.producer.stop(10) == 0
            assert [await asyncio.wait_for(report, 1) for report in reports] == [None] * 100
            assert log.producer.refusal == "stopping"
            with pytest.raises(NotTaken) as caught:
                produce(log.producer, 0, b"x")
            assert caught.value.cause == "stopping"

        asyncio.run(scenario())
        assert len(log.records()) == 100

    def test_a_record_too_large_is_not_taken(self, log: Log) -> None:
        async def scenario() -> None:
            await log.producer.start()
            await ready(log.producer)
            with pytest.raises(NotTaken) as caught:
                produce(log.producer, 0, b"x" * (MESSAGE_BYTES + 1))
            assert caught.value.cause == "not delivered"
            assert await asyncio.wait_for(produce(log.producer, 0, b"x"), 20) is None
            await log.producer.stop(10)

        asyncio.run(scenario())
        assert [record.value for record in log.records()] == [b"x"]


def test_a_stopped_fake_counts_what_it_gives_up() -> None:
    async def scenario() -> None:
        producer = FakeProducer()
        await producer.start()
        producer.is_holding = True
        report = produce(producer, 0, b"x")
        assert await producer.stop(1) == 1
        assert await report == "not delivered"

    asyncio.run(scenario())


def test_it_waits_for_its_topic(kafka: str) -> None:
    name = f"test-{uuid.uuid4()}"

    async def scenario() -> None:
        producer = kafka_producer(kafka, name)
        await producer.start()
        assert producer.refusal == "starting"
        wrong = await producer.probe()
        assert wrong is not None
        assert name in wrong
        await asyncio.to_thread(create_topic, kafka, name, 3)
        await ready(producer)
        assert producer.partitions == 3
        await producer.stop(10)

    asyncio.run(scenario())


def new_topic(broker: Broker) -> str:
    name = f"test-{uuid.uuid4()}"
    create_topic(broker.bootstrap_servers, name, 1)
    return name


class TestOutage:
    """A broker of its own, which dies."""

    def test_a_full_queue_refuses_at_once(self, own_broker: Broker) -> None:
        async def scenario() -> None:
            name = new_topic(own_broker)
            producer = kafka_producer(own_broker.bootstrap_servers, name, queue_bytes=1024 * 1024)
            await producer.start()
            await ready(producer)
            own_broker.kill()
            reports = [produce(producer, 0, bytes(200_000)) for _ in range(5)]
            with pytest.raises(NotTaken) as caught:
                produce(producer, 0, bytes(200_000))
            assert caught.value.cause == "queue full"
            # What the log did not take in time is told, and stopping leaves nothing behind.
            assert set(await asyncio.gather(*reports)) == {"not delivered"}
            assert producer.refusal == "breaker open"
            assert await producer.stop(1) == 0

        asyncio.run(scenario())

    def test_what_is_left_at_the_stop_is_counted_and_told(self, own_broker: Broker) -> None:
        async def scenario() -> None:
            name = new_topic(own_broker)
            producer = kafka_producer(own_broker.bootstrap_servers, name)
            await producer.start()
            await ready(producer)
            own_broker.kill()
            report = produce(producer, 0, b"x")
            assert await producer.stop(0.1) == 1
            assert await asyncio.wait_for(report, 1) == "not delivered"

        asyncio.run(scenario())

    def test_the_breaker_opens_and_closes_again(self, own_broker: Broker) -> None:
        async def scenario() -> None:
            name = new_topic(own_broker)
            producer = kafka_producer(own_broker.bootstrap_servers, name)
            await producer.start()
            await ready(producer)
            own_broker.kill()
            deadline = time.monotonic() + 30
            while producer.refusal != "breaker open":
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            assert (await producer.probe() or "").startswith("Kafka does not answer")
            own_broker.start()
            await ready(producer)
            assert await asyncio.wait_for(produce(producer, 0, b"again"), 20) is None
            await producer.stop(10)
            assert [record.value for record in read_topic(own_broker.bootstrap_servers, name)] == [b"again"]

        asyncio.run(scenario())
