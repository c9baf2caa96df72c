"""Records of the log as frames of server-sent events, by project."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from api.live.sampling import Sampling
from api.log.reading import LoggedEvent, LogRecord, parts
from schemas.events import Context
from schemas.instants import format_millis
from schemas.kinds import is_system


class AcceptedEvent(Struct, frozen=True, rename="camel"):
    """What a stream shows of an event."""

    event_id: str | None  # none where a foreign producer gave none: a worker will
    event: str
    properties: dict[str, Any]
    user_id: str | None
    timestamp: str | None
    source: str
    session_id: str | None
    context: Context | None
    received_at: str
    is_bot: bool


class Framing:
    """Makes the frames of those projects that somebody listens to."""

    def __init__(self, is_wanted: Callable[[int], bool]) -> None:
        self._is_wanted = is_wanted
        self._samplings: dict[int, Sampling] = {}

    def blocks(self, records: Sequence[LogRecord], now: float) -> dict[int, bytes]:
        """What to send of some records, by project; `now` is monotonic seconds. To be called often."""
        found: dict[int, list[bytes]] = {}
        self._samplings = {project: one for project, one in self._samplings.items() if self._is_wanted(project)}
        for project, sampling in self._samplings.items():
            if (told := sampling.turn(now)) is not None:
                notice = msgspec.json.encode(dict(zip(("shown", "leftOut"), told, strict=True)))
                found[project] = [b"event: sampled\ndata: %b\n\n" % notice]
        for record in records:
            for part in parts(record):
                if self._is_wanted(project := part.project):
                    sampling = self._samplings.setdefault(project, Sampling(now))
                    events = part.events(sampling.places(part.size))
                    found.setdefault(project, []).extend(_frames(events, sampling))
        return {project: b"".join(frames) for project, frames in found.items() if frames}


def _frames(events: Iterator[LoggedEvent], sampling: Sampling) -> Iterator[bytes]:
    for logged in events:
        if is_system(logged.event.event):
            continue
        frame = b"data: %b\n\n" % msgspec.json.encode(_accepted(logged))
        if sampling.fits(len(frame)):
            yield frame


def _accepted(logged: LoggedEvent) -> AcceptedEvent:
    event = logged.event
    return AcceptedEvent(
        event_id=logged.event_id,
        event=event.event,
        properties=event.properties or {},
        user_id=event.user_id or None,
        timestamp=logged.timestamp(),
        source=event.source or logged.source,
        session_id=event.session_id or None,
        context=event.context,
        received_at=format_millis(logged.received),
        is_bot=logged.is_bot,
    )
