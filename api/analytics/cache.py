"""Identical questions in flight run once, and an answer serves until the lake moves."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class SingleFlight:
    """Everybody who asks the same while it is being answered gets that answer. For one event loop."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, asyncio.Future[Any]] = {}

    async def run(self, key: Hashable, start: Callable[[], Awaitable[T]]) -> T:
        """The answer, or the error, of the one that runs. A caller who leaves does not stop it."""
        flight: asyncio.Future[T] | None = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.ensure_future(start())
            flight.add_done_callback(lambda done: self._land(key, done))
        return await asyncio.shield(flight)

    def _land(self, key: Hashable, flight: asyncio.Future[Any]) -> None:
        del self._flights[key]
        # Its callers may all have left: then nobody else looks at the error.
        if not flight.cancelled():
            flight.exception()


class AnswerCache:
    """The last answers, each with the versions of the tables it was made from. Thread-safe."""

    def __init__(self, capacity: int = 1024) -> None:
        self._capacity = capacity
        self._answers: OrderedDict[Hashable, tuple[Hashable, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, question: Hashable, versions: Hashable) -> Any | None:
        """The answer if it was made from exactly these versions."""
        with self._lock:
            made = self._answers.get(question)
            if made is None or made[0] != versions:
                return None
            self._answers.move_to_end(question)
            return made[1]

    def put(self, question: Hashable, versions: Hashable, answer: Any) -> None:
        """Keep an answer; the one used longest ago goes when there are too many."""
        with self._lock:
            self._answers[question] = (versions, answer)
            self._answers.move_to_end(question)
            if len(self._answers) > self._capacity:
                self._answers.popitem(last=False)
