"""All of the live topic, read from its beginning and for ever by a thread of this process alone."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.live import REFUSAL_KEY, SLOT_SECONDS, WINDOW_SECONDS, LiveMessage, decode_live

logger = logging.getLogger(__name__)

# One hand-over; larger ones would hold the event loop longer than a poll may wait.
_BATCH = 500
# How long `stop` may have to wait for the thread to notice.
_POLL_SECONDS = 0.2
_METADATA_SECONDS = 2
_RETRY_SECONDS = 0.5

Properties = dict[str, str | int | float | bool]


class LiveReader:
    """Assigned to all partitions, without a group: every process has the whole state, and nothing is committed."""

    def __init__(self, connection: Properties, topic: str) -> None:
        self._topic = topic
        self._properties: Properties = connection | {
            # The client demands a name; without subscription or commit the broker never hears of it.
            "group.id": "streamgauge-live",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            # A topic made anew ends before the position that was reached in the old one.
            "auto.offset.reset": "earliest",
            "reconnect.backoff.ms": 100,
            "reconnect.backoff.max.ms": 1000,
            "queued.max.messages.kbytes": 8 * 1024,
        }
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._waiting_for_end: set[int] = set()

    def start(self, deliver: Callable[[Sequence[LiveMessage]], None], on_end: Callable[[], None]) -> None:
        """Begin; `deliver` and `on_end` are called in the thread, `on_end` once, when the end was first reached."""
        self._thread = threading.Thread(target=self._run, args=(deliver, on_end), name="live-reader", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Blocks until the thread has ended; safe to repeat."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, deliver: Callable[[Sequence[LiveMessage]], None], on_end: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            consumer = Consumer(self._properties, logger=logger)
            try:
                self._assign(consumer)
                self._read(consumer, deliver, on_end)
            except Exception:  # the edge of the thread: what is read again is only repeated
                logger.exception("live topic not read, starting again", extra={"topic": self._topic})
                self._stopping.wait(_RETRY_SECONDS)
            finally:
                consumer.close()

    def _assign(self, consumer: Consumer) -> None:
        is_told = False
        while not self._stopping.is_set():
            try:
                topic = consumer.list_topics(self._topic, timeout=_METADATA_SECONDS).topics[self._topic]
                numbers = [] if topic.error is not None else sorted(topic.partitions)
            except KafkaException as error:
                logger.warning("waiting for Kafka: %s", error.args[0].str())
                numbers = []
            if numbers:
                consumer.assign([TopicPartition(self._topic, number, OFFSET_BEGINNING) for number in numbers])
                self._waiting_for_end = set(numbers)
                return
            if not is_told:
                logger.warning("waiting for topic %s; `streamgauge up` creates it", self._topic)
                is_told = True
            self._stopping.wait(_RETRY_SECONDS)

    def _read(
        self, consumer: Consumer, deliver: Callable[[Sequence[LiveMessage]], None], on_end: Callable[[], None]
    ) -> None:
        has_ended = False
        while not self._stopping.is_set():
            # `consume` alone would wait for a full batch; the first message must not wait for a second.
            first = consumer.poll(_POLL_SECONDS)
            if first is None:
                continue
            messages = self._decoded([first, *consumer.consume(_BATCH - 1, 0)])
            if messages:
                deliver(messages)
            if not has_ended and not self._waiting_for_end:
                has_ended = True
                on_end()

    def _decoded(self, records: list[Message]) -> list[LiveMessage]:
        oldest = int(time.time()) - WINDOW_SECONDS - SLOT_SECONDS
        messages = []
        for record in records:
            if (error := record.error()) is not None:
                self._note(record, error)
            elif _is_wanted(_bytes(record.key()), oldest):
                value = _bytes(record.value())
                try:
                    if value:
                        messages.append(decode_live(value))
                except msgspec.MsgspecError:
                    logger.warning("not a live record", extra={"topic": self._topic, "offset": record.offset()})
        return messages

    def _note(self, record: Message, error: KafkaError) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            self._waiting_for_end.discard(record.partition() or 0)
        else:
            logger.warning("live topic: %s", error.str(), extra={"topic": self._topic})


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def _is_wanted(key: bytes, oldest: int) -> bool:
    """Two days of slots may be in the topic, and only the last hour counts: most are not worth decoding."""
    if not key.startswith(b"slot/"):
        return not key.startswith(REFUSAL_KEY)
    slot = key.rpartition(b"/")[2]
    return not slot.isdigit() or int(slot) >= oldest
