"""Publishes live state to the compacted topic: state, not delta, so a replay overwrites."""

import logging
from collections.abc import Iterable
from itertools import islice

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.deadletters import DeadLetter
from schemas.live import LiveMessage, Refusal, encode_live, live_key

log = logging.getLogger(__name__)

# Of one tick's records. A flood of bad lines is counted, and stands in the lake a flush later.
_MOST_REFUSALS = 50


class LivePublisher:
    """A producer of its own, apart from Faust's. What fails to arrive is superseded by the next state."""

    def __init__(self, librdkafka: dict[str, str | int | float | bool], topic: str) -> None:
        self._topic = topic
        self.failures = 0
        self._producer = Producer(
            {
                **librdkafka,
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "zstd",
                "linger.ms": 5,
                "message.timeout.ms": 10_000,
                "queue.buffering.max.kbytes": 64 * 1024,
            }
        )

    def publish(self, messages: Iterable[LiveMessage]) -> None:
        """Queue messages; never blocks."""
        for message in messages:
            try:
                self._producer.produce(
                    self._topic, encode_live(message), live_key(message), partition=0, on_delivery=self._delivered
                )
            except (BufferError, KafkaException) as error:
                self.failures += 1
                log.warning("live state not queued", extra={"reason": str(error)})
        self._producer.poll(0)

    def take_failures(self) -> int:
        """Failures since the last call; the caller then publishes everything once more."""
        self._producer.poll(0)
        failures, self.failures = self.failures, 0
        return failures

    def close(self, seconds: float) -> None:
        """Wait for what is queued, at most `seconds`."""
        self._producer.flush(seconds)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self.failures += 1


def refusals(chain: str, letters: Iterable[DeadLetter]) -> list[Refusal]:
    """What can be told of refused lines at once."""
    return [
        Refusal(
            chain,
            letter.partition,
            letter.offset,
            letter.index,
            letter.received,
            letter.reason,
            letter.detail,
            letter.project,
        )
        for letter in islice(letters, _MOST_REFUSALS)
    ]
