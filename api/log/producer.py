"""Records into Kafka, and word of each one's delivery back on the event loop."""

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from api.errors import Cause
from api.log.breaker import Breaker, BreakerPolicy
from storage.metrics import count, observe

logger = logging.getLogger(__name__)

_PROBE_SECONDS = 2
# A living broker takes a lost connection back in a few ms; what waits is told within 100 ms that there is none.
_GLANCE_SECONDS = 0.03
_RETRY_SECONDS = 0.5
# Longer would hold up a process whose log is away, and which should say so.
_START_SECONDS = 3
# A record is at most 256 KB; this leaves room for Kafka's own framing.
MESSAGE_BYTES = 1024 * 1024
_QUEUE_MESSAGES = 10_000

Properties = dict[str, str | int | float | bool]
Headers = list[tuple[str, str | bytes | None]]
# Called once on the event loop; None means the log has it.
Report = Callable[[Cause | None], None]


class NotTaken(Exception):
    """A record that was not handed to the log; nothing of it will be kept."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause: Cause = cause


class LogProducer(Protocol):
    """The log as the door sees it. All calls come from the event loop, and none blocks it."""

    @property
    def partitions(self) -> int:
        """Partitions of the events topic; 0 until they are known."""

    @property
    def refusal(self) -> Cause | None:
        """Why it would take nothing now, if so."""

    def produce(self, partition: int, value: bytes, headers: Headers, report: Report) -> None:
        """Hand over one record; raises NotTaken, and then `report` is not called."""

    async def start(self) -> None:
        """Connect; what takes longer than some seconds goes on behind, until `refusal` is None."""

    async def probe(self) -> str | None:
        """Ask the log whether it is there; what is wrong with it, if anything."""

    async def stop(self, seconds: float) -> int:
        """Wait for what is under way, give up the rest, and return how many records those were."""


class KafkaProducer:
    """A LogProducer on librdkafka: one poll thread, one call into the event loop a record."""

    def __init__(
        self,
        connection: Properties,
        topic: str,
        queue_bytes: int,
        delivery_seconds: float,
        breaker: BreakerPolicy = BreakerPolicy(),  # noqa: B008  # frozen
    ) -> None:
        self._connection = connection
        self._topic = topic
        self._properties = _properties(connection, queue_bytes, delivery_seconds)
        self._breaker = Breaker(breaker)
        self._partitions = 0
        self._is_stopping = False
        self._is_fatal = False
        self._producer: Producer | None = None
        self._poller: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def partitions(self) -> int:
        return self._partitions

    @property
    def refusal(self) -> Cause | None:
        if self._is_stopping:
            return "stopping"
        if not self._partitions:
            return "starting"
        return "breaker open" if self._breaker.is_open else None

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._failed = asyncio.Event()
        self._producer = self._new_producer()
        self._poller = threading.Thread(target=self._poll, name="kafka-poll", daemon=True)
        self._poller.start()
        connected = asyncio.create_task(self._connect(), name="kafka-connect")
        self._task = asyncio.create_task(self._supervise(connected), name="kafka-supervisor")
        await asyncio.wait((connected,), timeout=_START_SECONDS)

    def produce(self, partition: int, value: bytes, headers: Headers, report: Report) -> None:
        if (cause := self.refusal) is not None or self._producer is None:
            raise NotTaken(cause or "stopping")
        started = time.monotonic()

        def delivered(error: KafkaError | None, _message: Message) -> None:
            # In the poll thread: the loop may be closed already when the last reports come.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._report, report, error, started)

        try:
            self._producer.produce(self._topic, value, None, partition, delivered, headers=headers)
        except BufferError as error:
            raise NotTaken("queue full") from error
        except KafkaException as error:
            logger.error("record refused: %s", error, extra={"partition": partition})
            self._note(error.args[0])
            raise NotTaken("not delivered") from error

    async def probe(self) -> str | None:
        if self._producer is None:
            return "the Kafka producer is stopped"
        try:
            partitions = await asyncio.to_thread(_count_partitions, self._producer, self._topic, _PROBE_SECONDS)
        except KafkaException as error:
            return f"Kafka does not answer: {error.args[0].str()}"
        if not partitions:
            return f"topic {self._topic} does not exist, or a partition has no leader"
        return None

    async def stop(self, seconds: float) -> int:
        self._is_stopping = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        producer, poller = self._producer, self._poller
        if producer is None or poller is None:
            return 0
        left = await asyncio.to_thread(producer.flush, seconds)
        if left:
            producer.purge()
            await asyncio.to_thread(producer.flush, 1)
        self._producer = None
        await asyncio.to_thread(poller.join)
        await asyncio.sleep(0)  # the reports that the poll thread has just handed over
        return left

    def _new_producer(self) -> Producer:
        return Producer({**self._properties, "error_cb": self._on_error}, logger=logger)

    def _poll(self) -> None:
        while (producer := self._producer) is not None:
            producer.poll(0.1)

    def _on_error(self, error: KafkaError) -> None:
        # In the poll thread.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._note, error)

    def _report(self, report: Report, error: KafkaError | None, started: float) -> None:
        if error is None:
            count("streamgauge_records_produced_total")
            observe("streamgauge_produce_seconds", time.monotonic() - started)
            report(None)
        else:
            self._note(error)
            report("not delivered")

    def _note(self, error: KafkaError) -> None:
        if error.fatal():
            self._is_fatal = True
        if self._is_fatal or error.code() == KafkaError._MSG_TIMED_OUT:
            self._open_breaker()
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._failed.set()

    def _open_breaker(self) -> None:
        """Refuse from now on, and fail what waits: it would only be told the same later."""
        if self._breaker.is_open:
            return
        self._breaker.open()
        self._failed.set()
        logger.warning("log unavailable, breaker open", extra={"topic": self._topic})
        if self._producer is not None:
            self._producer.purge(blocking=False)

    async def _supervise(self, connected: asyncio.Task[None]) -> None:
        """Once the partitions are known, judge lost connections, and close the breaker again whenever it opened."""
        await connected
        while True:
            await self._failed.wait()
            self._failed.clear()
            # Idle connections are closed now and then: a connection lost is no outage until there is no other.
            if not self._breaker.is_open and not await asyncio.to_thread(self._is_there, _GLANCE_SECONDS):
                self._open_breaker()
            if self._breaker.is_open:
                await self._recover()
                logger.info("log available again, breaker closed", extra={"topic": self._topic})

    async def _connect(self) -> None:
        is_told = False
        while not self._partitions:
            try:
                self._partitions = await asyncio.to_thread(
                    _count_partitions, self._producer, self._topic, _PROBE_SECONDS
                )
            except KafkaException as error:
                logger.warning("waiting for Kafka: %s", error.args[0].str())
            if not self._partitions:
                if not is_told:
                    logger.warning("waiting for topic %s; `streamgauge up` creates it", self._topic)
                    is_told = True
                await asyncio.sleep(_RETRY_SECONDS)

    async def _recover(self) -> None:
        failures = 0
        while True:
            if not self._is_fatal:
                await asyncio.sleep(self._breaker.pause_seconds(random.random()))
                if await self.probe() is None:
                    break
                failures += 1
            # A client that stays deaf while a fresh one hears was seen once in 32 restarts of a broker.
            if self._is_fatal or (failures >= 2 and await asyncio.to_thread(self._is_heard)):
                self._replace_producer()
                self._is_fatal = False
                break
        self._failed.clear()
        self._breaker.close()

    def _is_there(self, seconds: float) -> bool:
        try:
            _count_partitions(self._producer, self._topic, seconds)
        except KafkaException:
            return False
        return True

    def _is_heard(self) -> bool:
        try:
            return _count_partitions(AdminClient(self._connection), self._topic, _PROBE_SECONDS) > 0
        except KafkaException:
            return False

    def _replace_producer(self) -> None:
        count("streamgauge_alarms_total", kind="producer replaced")
        logger.error("the Kafka client is replaced by a new one", extra={"topic": self._topic})
        old, self._producer = self._producer, self._new_producer()
        if old is not None:
            old.purge()
            old.poll(0)


def _properties(connection: Properties, queue_bytes: int, delivery_seconds: float) -> Properties:
    return connection | {
        "acks": "all",
        "enable.idempotence": True,
        "max.in.flight.requests.per.connection": 5,
        "linger.ms": 0,  # the coalescer has waited already
        "compression.type": "zstd",
        "compression.level": 1,
        "message.timeout.ms": int(delivery_seconds * 1000),
        "message.max.bytes": MESSAGE_BYTES,
        "queue.buffering.max.messages": _QUEUE_MESSAGES,
        "queue.buffering.max.kbytes": max(queue_bytes // 1024, 1024),
        # The default lets a client wait ten seconds before it looks for a broker that is back.
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 1000,
        "topic.metadata.propagation.max.ms": 10_000,
        "socket.keepalive.enable": True,
    }


def _count_partitions(client: Any, topic: str, seconds: float) -> int:
    """Partitions of a topic, all of which have a leader; 0 without them. Blocks; raises KafkaException."""
    metadata = client.list_topics(topic, timeout=seconds).topics[topic]
    if metadata.error is not None or any(part.leader < 0 for part in metadata.partitions.values()):
        return 0
    return len(metadata.partitions)
