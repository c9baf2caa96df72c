"""Topics read by people: events that come in now, one that is not in the lake yet, lines refused just now."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Self

import msgspec
from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from api.log.producer import Properties
from api.log.reading import LoggedEvent, LogRecord, header_format, logged_events
from schemas.answers import EventDetail
from schemas.live import REFUSAL_KEY, Refusal, decode_live
from storage.errors import Unavailable

_ANSWER_SECONDS = 5.0
# The lake is a flush behind the log (5 s); a worker that is down for long leaves more than can be searched.
FIND_SECONDS = 5.0
_POLL_SECONDS = 0.1
# An outage is told once; librdkafka tells each attempt to connect.
_TOLD_SECONDS = 60.0
_MOST_REFUSALS = 500
# At once in memory, of up to 256 KB each.
_MOST_RECORDS = 64

# Told in one line what is wrong with the log, while it is tried again.
Trouble = Callable[[str], None]


class LogReader:
    """Reads one topic outside of any group, so that nobody's position moves. Every call has a consumer of its own."""

    def __init__(self, connection: Properties, topic: str, find_seconds: float = FIND_SECONDS) -> None:
        self._properties = _outside_groups(connection) | {"auto.offset.reset": "earliest", "enable.partition.eof": True}
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

    def follow(self, trouble: Trouble, poll_seconds: float = 0.2) -> Iterator[LoggedEvent | None]:
        """Every event accepted from the first call on, for ever; None whenever nothing came for a moment.

        Raises what `records` raises.
        """
        with closing(self.records(trouble, poll_seconds)) as incoming:
            for records in incoming:
                if not records:
                    yield None
                for record in records:
                    yield from logged_events(record)

    def records(self, trouble: Trouble, poll_seconds: float) -> Generator[list[LogRecord], None, None]:
        """What is appended from the first call on, for ever, gathered for a moment each: at first none, then those.

        Raises Unavailable if the log does not answer at first; an outage later goes to `trouble` and is waited for.
        Close it.
        """
        outages = _Outages(trouble)
        with self._consumer(outages) as consumer:
            partitions = self._partitions(consumer)
            ends = {partition: self._end(consumer, partition) for partition in partitions}
            consumer.assign([TopicPartition(self._topic, partition, ends[partition]) for partition in partitions])
            outages.is_begun = True
            yield []
            while True:
                messages = consumer.consume(_MOST_RECORDS, poll_seconds)
                yield [record for message in messages if (record := _record(message)) is not None]

    @contextmanager
    def _consumer(self, on_error: Callable[[KafkaError], None] = lambda _: None) -> Iterator[Consumer]:
        consumer = Consumer(self._properties | {"error_cb": on_error})
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


class RefusalReader:
    """Lines that the workers refuse from now on; what comes while the log is away is missed. Close it."""

    def __init__(self, connection: Properties, topic: str) -> None:
        """Connects in the background, and again after every outage."""
        self._consumer = Consumer(_outside_groups(connection) | {"error_cb": lambda _: None})
        self._consumer.assign([TopicPartition(topic, 0, OFFSET_END)])

    def fresh(self) -> list[Refusal]:
        """What came since the last call, at once."""
        found = []
        for message in self._consumer.consume(_MOST_REFUSALS, 0):
            if message.error() is None and (message.key() or b"").startswith(REFUSAL_KEY):
                try:
                    refusal = decode_live(message.value() or b"")
                except msgspec.MsgspecError:
                    continue  # of a later version
                if isinstance(refusal, Refusal):
                    found.append(refusal)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()


def _outside_groups(connection: Properties) -> Properties:
    return {
        **connection,
        # librdkafka wants a name; without subscription or commit it is in no group.
        "group.id": "streamgauge-reader",
        "enable.auto.commit": False,
        # Its own log lines would go to standard error, beside ours; what matters comes back as errors.
        "log_level": 0,
    }


class _Outages:
    """Tells of an outage once a minute at most; before `is_begun` the caller learns of it by an exception."""

    def __init__(self, trouble: Trouble) -> None:
        self._trouble = trouble
        self._told = float("-inf")
        self.is_begun = False

    def __call__(self, error: KafkaError) -> None:
        now = time.monotonic()
        if self.is_begun and error.code() == KafkaError._ALL_BROKERS_DOWN and now - self._told > _TOLD_SECONDS:
            self._told = now
            self._trouble("the log does not answer; what it takes will show when it is back")


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
