"""How the numbers of an answer were made: noted while it is made, and told in its headers."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from api.analytics.answering import Answered
from api.dependencies import made
from schemas.answers import EXACT, Accuracy

T = TypeVar("T")


@dataclass(slots=True)
class Making:
    """What is known so far: the least watermark and the widest error of all that was asked."""

    timezone: str = "UTC"
    watermark: int | None = None
    accuracy: Accuracy = EXACT

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """None where nothing was asked."""
        if self.watermark is None:
            return ()
        told = made(str(self.accuracy), self.timezone, self.watermark)
        return tuple((name.lower().encode(), value.encode()) for name, value in told.items())


_making: ContextVar[Making | None] = ContextVar("making", default=None)


def begin() -> Making:
    """The notes of a request that begins."""
    making = Making()
    _making.set(making)
    return making


def in_zone(timezone: str) -> None:
    """The request is answered in this zone."""
    if (making := _making.get()) is not None:
        making.timezone = timezone


def told(answered: Answered[T]) -> T:
    """The answer itself, once it is noted how it was made."""
    if (making := _making.get()) is not None:
        known = making.watermark
        making.watermark = answered.watermark if known is None else min(known, answered.watermark)
        accuracy: Any = getattr(answered.answer, "accuracy", EXACT)
        if (accuracy.error or 0.0) > (making.accuracy.error or 0.0):
            making.accuracy = accuracy
    return answered.answer
