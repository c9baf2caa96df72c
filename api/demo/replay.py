"""A day of flights again, now: what makes the live counters move."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event
from typing import Any, Final

from api.demo.door import Door
from api.demo.flights import Departure, event_of

_TICK_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Sent:
    """What a replay has sent: how many, and when the last of them was accepted."""

    events: int
    received_at: str


def prefix_of(start: datetime) -> str:
    """What the ids of a replay begin with: its own, so that each replay counts."""
    return f"replay-{int(start.timestamp())}-"


def run(door: Door, departures: Sequence[Departure], prefix: str, stop: Event) -> Sent:
    """Send each flight when its time has come, as happening then; until all are sent or a stop is asked for."""
    sent, received_at = 0, ""
    for due in _due(departures, stop):
        now = datetime.now(UTC)
        received_at = door.send([event_of(one.flight, f"{prefix}{one.flight.row}", now) for one in due])
        sent += len(due)
    return Sent(sent, received_at)


def _due(departures: Sequence[Departure], stop: Event) -> Iterator[Sequence[Departure]]:
    start, first = time.monotonic(), 0
    while first < len(departures):
        end = first + due_after(departures[first:], time.monotonic() - start)
        if end > first:
            yield departures[first:end]
        first = end
        if stop.wait(_TICK_SECONDS):
            return


def due_after(departures: Sequence[Departure], seconds: float) -> int:
    """How many of them, which are in order, have left by then."""
    return sum(one.after_seconds <= seconds for one in departures)


def describe(realtime: dict[str, Any]) -> str:
    """The live figures in one line."""
    people = realtime["activeUsers"]
    windows = ", ".join(f"{count} in the last {window}" for window, count in people.items())
    return f"live ({realtime['state']}): {realtime['events']} flights in 30 minutes; aircraft: {windows}"
