"""The events topic read by people: what comes in now, and one event that is not in the lake yet."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from api.log.producer import Properties
from api.log.reading import LoggedEvent, LogRecord, header_format, logged_events
from schemas.answers import EventDetail
from storage.errors import Unavailable

_ANSWER_SECONDS = 5.0
# The lake is a flush behind the log (5 s); a worker that is down for long leaves more than can be searched.
FIND_SECONDS = 5.0
_POLL_SECONDS = 0.1


class LogReader:
    """Reads one topic outside of any group, so that nobody's position moves. Every call has a consumer of its own."""

    def __init__(self, connection: Properties, topic: str, find_seconds: float = FIND_SECONDS) -> None:
        self._properties: Properties = {
            **connection,
            # librdkafka wants a name; without subscription or commit it is in no group.
            "group.id": "streamgauge-reader",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
        self._topic = topic
        self._find_seconds = find_seconds

    def find(self, project: int, event_id: str, positions: Mapping[int, int]) -> EventDetail | None:
        """The event of this id at or after the positions; a partition without one is read from its start.

        Blocks. Raises Unavailable if the log does not answer, or is too long to be searched in time.
        """
        with self._consumer() as consumer:
            starts = {partition: positions.get(partition, 0) for partition in self._partitions(consumer)}
            for record in self._rest(consumer, starts):
                for logged in logged_events(record):
                    if logged.event_id == event_id and logged.project == project:
                        return logged.detail()
        return None

    def follow(self, poll_seconds: float = 0.2) -> Iterator[LoggedEvent | None]:
        """Every event accepted from the first call on, for ever; None whenever nothing came for a moment."""
        with self._consumer() as consumer:
            partitions = self._partitions(consumer)
            ends = {partition: self._end(consumer, partition) for partition in partitions}
            consumer.assign([TopicPartition(self._topic, partition, ends[partition]) for partition in partitions])
            while True:
                message = consumer.poll(poll_seconds)
                record = None if message is None else _record(message)
                if record is None:
                    yield None
                else:
                    yield from logged_events(record)

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        consumer = Consumer(dict(self._properties))
        try:
            yield consumer
        except KafkaException as error:
            raise Unavailable(f"the log does not answer: {_reason(error)}") from error
        finally:
            consumer.close()

    def _partitions(self, consumer: Consumer) -> list[int]:
        topic = consumer.list_topics(self._topic, timeout=_ANSWER_SECONDS).topics[self._topic]
        if topic.error is not None:
            raise KafkaException(topic.error)
        return sorted(topic.partitions)

    def _end(self, consumer: Consumer, partition: int) -> int:
        _, end = consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=_ANSWER_SECONDS)
        return end

    def _rest(self, consumer: Consumer, starts: Mapping[int, int]) -> Iterator[LogRecord]:
        """Records from the starts to where each partition ends now."""
        ends = {partition: self._end(consumer, partition) for partition in starts}
        left = {partition for partition, start in starts.items() if start < ends[partition]}
        consumer.assign([TopicPartition(self._topic, partition, starts[partition]) for partition in sorted(left)])
        deadline = time.monotonic() + self._find_seconds
        while left:
            if time.monotonic() > deadline:
                raise Unavailable(
                    "the log is too long to be searched now; the event is answered once it is in the lake"
                )
            if (message := consumer.poll(_POLL_SECONDS)) is None:
                continue
            if (record := _record(message)) is None:
                # The end of the partition: what was below it when we began is read.
                left.discard(message.partition() or 0)
                continue
            yield record
            if record.offset + 1 >= ends[record.partition]:
                left.discard(record.partition)


def _record(message: Message) -> LogRecord | None:
    """The record of a message; None for word of a partition's end. Raises KafkaException for other errors."""
    if (error := message.error()) is not None:
        if error.code() == KafkaError._PARTITION_EOF:
            return None
        raise KafkaException(error)
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    headers = message.headers() or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    return LogRecord(partition, offset, message.timestamp()[1], message.value() or b"", header_format(pairs))


def _reason(error: KafkaException) -> str:
    first = error.args[0] if error.args else error
    return first.str() if isinstance(first, KafkaError) else str(first)
