"""Records of the events topic as events again, for people who look: what workers make of them counts. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from schemas.answers import EventDetail, raw_json
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
            timestamp=self._timestamp(),
            source=event.source or self.source,
            session_id=event.session_id or None,
            context=None if event.context is None else raw_json(msgspec.json.encode(event.context).decode()),
            received_at=format_millis(self.received),
        )

    def _timestamp(self) -> str | None:
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
    if record.format is None:
        yield from _foreign(record)
    elif record.format == FORMAT:
        for segment in decode_segments(record.value, None):
            if isinstance(segment, Segment):
                yield from _segment(record, segment)


def _segment(record: LogRecord, segment: Segment) -> Iterator[LoggedEvent]:
    header = segment.header
    for place, line in enumerate(segment.lines):
        try:
            event = decode_event(line)
        except InvalidEvent:
            continue
        given = header.ids[place] if header.ids and place < len(header.ids) else None
        event_id = event.event_id or given or minted_id(header.base, place)
        index = segment.first + place
        yield LoggedEvent(
            header.project, event_id, event, header.source, header.received, record.partition, record.offset, index
        )


def _foreign(record: LogRecord) -> Iterator[LoggedEvent]:
    for index, line in enumerate(record.value.split(b"\n")):
        if not line:
            continue
        try:
            event = decode_foreign(line)
        except InvalidEvent:
            continue
        yield LoggedEvent(
            event.project_id,
            event.event_id or None,
            event,
            _FOREIGN_SOURCE,
            record.appended,
            record.partition,
            record.offset,
            index,
        )
