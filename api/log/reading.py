"""Records of the events topic as events again, for people who look: what workers make of them counts. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import msgspec

from schemas.answers import EventDetail, raw_json
from schemas.bots import bot_rule, forwarded_agent
from schemas.events import Event, InvalidEvent, decode_event, decode_foreign
from schemas.instants import format_instant, format_millis, parse_instant
from schemas.records import FORMAT, FORMAT_HEADER, Segment, decode_segments, minted_id

_FOREIGN_SOURCE = "kafka"


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record of the log."""

    partition: int
    offset: int
    appended: int  # unix ms of the log's clock
    value: bytes
    format: str | None  # the header that says how the value is made; None for foreign producers


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One event and where it stands."""

    project: int
    event_id: str | None  # None where only a worker gives it an id
    event: Event
    source: str
    received: int
    partition: int
    offset: int
    index: int
    agent: str | None = None  # of the connection, where that counts

    @property
    def is_bot(self) -> bool:
        """As the workers will judge it."""
        return bot_rule(forwarded_agent(self.event) or self.agent or "") is not None

    def detail(self) -> EventDetail:
        """The event as `GET /events/{eventId}` shows it."""
        event = self.event
        return EventDetail(
            event_id=self.event_id or "",
            state="in_log",
            partition=self.partition,
            offset=self.offset,
            index=self.index,
            event=event.event,
            properties=msgspec.Raw(msgspec.json.encode(event.properties or {})),
            user_id=event.user_id or None,
            timestamp=self.timestamp(),
            source=event.source or self.source,
            session_id=event.session_id or None,
            context=None if event.context is None else raw_json(msgspec.json.encode(event.context).decode()),
            received_at=format_millis(self.received),
        )

    def timestamp(self) -> str | None:
        """When it happened; None where that cannot be read."""
        if self.event.timestamp is None:
            return format_instant(self.received)
        try:
            return format_instant(parse_instant(self.event.timestamp))
        except (ValueError, OverflowError):
            # A foreign producer's: the workers will make a dead letter of it.
            return None


def header_format(headers: Iterable[tuple[str, str | bytes | None]]) -> str | None:
    """The record's format as its headers say."""
    for name, value in headers:
        if name == FORMAT_HEADER:
            return value.decode("ascii", "replace") if isinstance(value, bytes) else value or ""
    return None


def logged_events(record: LogRecord) -> Iterator[LoggedEvent]:
    """The events of a record in order; lines that are none are passed over."""
    for part in parts(record):
        yield from part.events(range(part.size))


def parts(record: LogRecord) -> Iterator["Part"]:
    """What stands in a record, by project, and as far as possible not decoded yet."""
    if record.format is None:
        yield from _foreign(record)
    elif record.format == FORMAT:
        for segment in decode_segments(record.value, None):
            if isinstance(segment, Segment):
                yield Part(segment.header.project, len(segment.lines), partial(_segment, record, segment))


@dataclass(frozen=True, slots=True)
class Part:
    """Lines of one project that stand side by side in a record."""

    project: int
    size: int
    # The events at some places from 0 on; lines that are none are passed over.
    events: Callable[[Iterable[int]], Iterator[LoggedEvent]]


def _segment(record: LogRecord, segment: Segment, places: Iterable[int]) -> Iterator[LoggedEvent]:
    header = segment.header
    for place in places:
        try:
            event = decode_event(segment.lines[place])
        except InvalidEvent:
            continue
        given = header.ids[place] if header.ids and place < len(header.ids) else None
        event_id = event.event_id or given or minted_id(header.base, place)
        yield LoggedEvent(
            header.project,
            event_id,
            event,
            header.source,
            header.received,
            record.partition,
            record.offset,
            segment.first + place,
            header.agent,
        )


def _foreign(record: LogRecord) -> Iterator[Part]:
    # Its project stands in the line itself.
    for index, line in enumerate(record.value.split(b"\n")):
        if not line:
            continue
        try:
            event = decode_foreign(line)
        except InvalidEvent:
            continue
        logged = LoggedEvent(
            event.project_id,
            event.event_id or None,
            event,
            _FOREIGN_SOURCE,
            record.appended,
            record.partition,
            record.offset,
            index,
        )
        yield Part(event.project_id, 1, partial(_those, (logged,)))


def _those(events: tuple[LoggedEvent, ...], places: Iterable[int]) -> Iterator[LoggedEvent]:
    return (events[place] for place in places)
