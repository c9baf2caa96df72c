"""Which log this is and how far it reaches, asked of the broker beside Faust."""

import logging
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec, TypeVar, cast

from confluent_kafka import Consumer, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from processors.decode import LogRecord
from processors.errors import Restart

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class LogRange:
    """The offsets of a partition that can be read: start <= offset < end."""

    start: int
    end: int


P = ParamSpec("P")
T = TypeVar("T")


def _asked(question: Callable[P, T]) -> Callable[P, T]:
    """A broker that does not answer is a reason to start again, not to call a person."""

    @wraps(question)
    def ask(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return question(*args, **kwargs)
        except KafkaException as error:
            raise Restart(f"the broker does not answer: {error}") from error

    return ask


class Log:
    """One topic as seen by an own consumer that is in no group. Blocking; used by one thread at a time."""

    def __init__(self, librdkafka: dict[str, str | int | float | bool], topic: str) -> None:
        self.topic = topic
        self._admin = AdminClient(dict(librdkafka))
        self._consumer = Consumer(
            {
                **librdkafka,
                "group.id": "streamgauge-identity",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": False,
            }
        )

    @_asked
    def chain(self) -> str:
        """`<cluster id>/<topic id>`: another cluster or a recreated topic is another chain."""
        cluster = self._admin.describe_cluster(request_timeout=_TIMEOUT_SECONDS).result()
        topics = self._admin.describe_topics(TopicCollection([self.topic]), request_timeout=_TIMEOUT_SECONDS)
        description = topics[self.topic].result()
        return f"{cluster.cluster_id}/{description.topic_id or self.topic}"

    def partitions(self) -> int:
        """How many partitions the topic has."""
        topic = self._consumer.list_topics(self.topic, timeout=_TIMEOUT_SECONDS).topics[self.topic]
        if topic.error is not None:
            raise KafkaException(topic.error)
        return len(topic.partitions)

    @_asked
    def range(self, partition: int) -> LogRange:
        """Start and end of a partition now."""
        start, end = self._consumer.get_watermark_offsets(
            TopicPartition(self.topic, partition), timeout=_TIMEOUT_SECONDS
        )
        return LogRange(start, end)

    @_asked
    def fingerprint(self, partition: int, offset: int) -> tuple[int, int, int] | None:
        """(offset, timestamp, CRC-32 of the value) of the first record at or after `offset`."""
        self._consumer.assign([TopicPartition(self.topic, partition, offset)])
        try:
            deadline = time.monotonic() + _TIMEOUT_SECONDS
            while time.monotonic() < deadline:
                message = self._consumer.poll(0.5)
                if message is None:
                    continue
                if (error := message.error()) is not None:
                    raise KafkaException(error)
                value = message.value()
                return message.offset() or 0, message.timestamp()[1], zlib.crc32(value or b"")
            return None
        finally:
            self._consumer.unassign()

    def read(self, partition: int, start: int, end: int) -> Iterator[LogRecord]:
        """The records with start <= offset < end that there are; ends early where the broker falls silent."""
        self._consumer.assign([TopicPartition(self.topic, partition, start)])
        try:
            while (message := self._consumer.poll(_TIMEOUT_SECONDS)) is not None:
                if (error := message.error()) is not None:
                    raise Restart(f"the broker does not answer: {error}")
                record = _record(message)
                if record.offset < end:
                    yield record
                if record.offset >= end - 1:
                    return
        finally:
            self._consumer.unassign()

    @_asked
    def find(self, partition: int, timestamp: int, crc: int) -> tuple[int, int] | None:
        """(offset, timestamp) of the first record of this CRC-32 that is not older, if there is one.

        A mirror keeps a record's time, or the topic gives it a later one.
        """
        asked = TopicPartition(self.topic, partition, timestamp)
        [place] = self._consumer.offsets_for_times([asked], timeout=_TIMEOUT_SECONDS)
        end = self.range(partition).end
        if place.offset < 0:
            return None
        for record in self.read(partition, place.offset, end):
            if zlib.crc32(record.value or b"") == crc:
                return record.offset, record.timestamp
        return None

    def is_assigned_elsewhere(self, group: str) -> bool:
        """Whether the members of the group hold every partition between them."""
        groups = self._admin.describe_consumer_groups([group], request_timeout=_TIMEOUT_SECONDS)
        held = {
            tp.partition
            for member in groups[group].result().members
            for tp in (member.assignment.topic_partitions if member.assignment else [])
            if tp.topic == self.topic
        }
        return len(held) >= self.partitions()

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


def _record(message: Message) -> LogRecord:
    # As Faust hands them over; the client's types admit text, which it never returns.
    headers = cast("list[tuple[str, bytes]]", message.headers() or [])
    return LogRecord(
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp=message.timestamp()[1],
        value=message.value(),
        headers=dict(headers),
    )


def wait_for_topics(librdkafka: dict[str, str | int | float | bool], topics: list[str], seconds: float) -> None:
    """Wait until the broker answers and has the topics; Restart when it does not in time.

    Faust must not start before: without a broker it exits, without the topic it idles for minutes.
    """
    admin = AdminClient(dict(librdkafka))
    deadline = time.monotonic() + seconds
    missing = topics
    while time.monotonic() < deadline:
        try:
            found = admin.list_topics(timeout=5.0).topics
            missing = [topic for topic in topics if topic not in found]
            if not missing:
                return
        except KafkaException as error:
            log.warning("waiting for the broker", extra={"reason": str(error)})
        time.sleep(0.5)
    raise Restart(f"the broker does not answer or lacks topics {missing} after {seconds:.0f} s")
