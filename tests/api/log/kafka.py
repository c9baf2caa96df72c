"""Topics of a test, and what is in them."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.fakes import Record


def create_topic(servers: str, name: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)


@contextmanager
def topic(servers: str, partitions: int = 4) -> Iterator[str]:
    """A topic of its own for a test."""
    name = f"test-{uuid.uuid4()}"
    create_topic(servers, name, partitions)
    try:
        yield name
    finally:
        admin = AdminClient({"bootstrap.servers": servers})  # named, since its futures die with it
        admin.delete_topics([name])[name].result(30)


def read_topic(servers: str, name: str) -> list[Record]:
    """All records of a topic, partition by partition."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": str(uuid.uuid4()), "auto.offset.reset": "earliest"})
    try:
        partitions = sorted(consumer.list_topics(name, timeout=10).topics[name].partitions)
        ends = {part: consumer.get_watermark_offsets(TopicPartition(name, part), timeout=10) for part in partitions}
        consumer.assign([TopicPartition(name, part, low) for part, (low, _) in ends.items()])
        want = sum(high - low for low, high in ends.values())
        records: list[Record] = []
        deadline = time.monotonic() + 30
        while len(records) < want:
            assert time.monotonic() < deadline, f"read {len(records)} of {want} records"
            if (message := consumer.poll(1)) is None:
                continue
            assert message.error() is None, message.error()
            value, partition = message.value(), message.partition()
            assert value is not None
            assert partition is not None
            headers = message.headers() or []
            records.append(Record(partition, value, dict(headers)))
        return sorted(records, key=lambda record: record.partition)
    finally:
        consumer.close()
