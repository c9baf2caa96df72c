"""Events that another dialect translated: the same checks and the same door as the native lane."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from api.errors import LogUnavailable
from api.ingest.door import Door, Origin
from api.ingest.refusals import Refusals
from api.ingest.tally import Tally
from api.ingest.validation import check_line
from schemas.events import Event, EventLimits, InvalidEvent, ProblemCode

_encoder = msgspec.json.Encoder()


class InvalidItem(ValueError):
    """An item of a request that no event can be made of."""

    def __init__(self, index: int, message: str, code: ProblemCode = "bad_request") -> None:
        super().__init__(message)
        self.index = index
        self.message = message
        self.code: ProblemCode = code


@dataclass(frozen=True, slots=True)
class From:
    """What holds for a request's events: the dialect, and what its connection or body tells of the visitor."""

    source: str
    visitor: str | None = None
    country: str | None = None
    agent: str | None = None


class Intake:
    """Events in the core form (`schemas.events.Event` as JSON objects) from any dialect."""

    def __init__(self, door: Door, limits: EventLimits, tally: Tally, refusals: Refusals) -> None:
        self._door = door
        self._limits = limits
        self._tally = tally
        self._refusals = refusals

    async def accept(self, project: int, sender: From, events: Sequence[Mapping[str, Any]]) -> list[str]:
        """The events' ids, once the log has all of them.

        Raises InvalidItem for the first that is none, after which nothing is kept, and LogUnavailable.
        """
        received = time.time_ns() // 1_000_000
        checked = [self._checked(project, index, event, received) for index, event in enumerate(events)]
        if not checked:
            return []
        origin = Origin(project, received, sender.source, sender.visitor, sender.country, sender.agent)
        try:
            return await self._door.accept(origin, [event for event, _ in checked], [line for _, line in checked])
        except LogUnavailable as problem:
            self._tally.add("streamgauge_log_unavailable_total", "cause", problem.cause)
            raise

    def _checked(self, project: int, index: int, event: Mapping[str, Any], received: int) -> tuple[Event, bytes]:
        try:
            return check_line(_encoder.encode(event), self._limits, received)
        except InvalidEvent as error:
            self._tally.add("streamgauge_events_refused_total", "code", error.code)
            self._refusals.note(project, error.code, error.message, index)
            raise InvalidItem(index, error.message, error.code) from error
