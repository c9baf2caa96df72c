"""One Kafka record to rows and dead letters; pure, and the same for every reader of the log."""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field

import msgspec

from processors.enrich.names import is_pageview, is_system
from processors.enrich.web import enrich
from schemas.deadletters import DeadLetter, Reason
from schemas.events import Event, EventLimits, InvalidEvent, check_event, decode_event, decode_foreign
from schemas.records import COUNT_HEADER, FORMAT, FORMAT_HEADER, Broken, Segment, decode_segments, foreign_id, minted_id
from schemas.rows import Row

_ENCODER = msgspec.json.Encoder()
_NO_PROPERTIES = b"{}"


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A record as it was read: `timestamp` is the log's, unix ms."""

    partition: int
    offset: int
    timestamp: int
    value: bytes | None
    headers: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DecodePolicy:
    """What a decoder must know besides the record."""

    chain: str
    projects: Container[int]
    limits: EventLimits = field(default_factory=EventLimits)


def decode_record(record: LogRecord, policy: DecodePolicy) -> Iterator[Row | DeadLetter]:
    """Every line of a record, in order, as a row or a dead letter."""
    version = record.headers.get(FORMAT_HEADER)
    if not record.value:
        yield _dead(record, 0, "empty record", b"")
    elif version is None:
        yield from _foreign(record, record.value, policy)
    elif version != FORMAT.encode():
        yield _dead(record, 0, "unknown format", record.value)
    else:
        for part in decode_segments(record.value, _count(record)):
            if isinstance(part, Broken):
                yield _dead(record, part.index, "broken segment", part.raw)
            else:
                yield from _segment(record, part, policy)


def _count(record: LogRecord) -> int | None:
    text = record.headers.get(COUNT_HEADER, b"")
    return int(text) if text.isdigit() and len(text) < 10 else -1


def _segment(record: LogRecord, segment: Segment, policy: DecodePolicy) -> Iterator[Row | DeadLetter]:
    header = segment.header
    ids = header.ids or ()
    for place, line in enumerate(segment.lines):
        index = segment.first + place
        try:
            event = decode_event(line)
            timestamp = check_event(event, line, policy.limits, header.received)
        except InvalidEvent as error:
            yield _rejected(record, index, line, error, header.received, header.project)
            continue
        event_id = event.event_id or (ids[place] if place < len(ids) else None) or minted_id(header.base, place)
        yield _row(
            event,
            project=header.project,
            event_id=event_id,
            timestamp=timestamp,
            received=header.received,
            source=event.source or header.source,
            visitor=header.visitor,
            country=header.country,
            agent=header.agent,
            record=record,
            index=index,
        )


def _foreign(record: LogRecord, value: bytes, policy: DecodePolicy) -> Iterator[Row | DeadLetter]:
    for index, line in enumerate(value.split(b"\n")):
        if not line.strip():
            continue
        try:
            event = decode_foreign(line)
            timestamp = check_event(event, line, policy.limits, record.timestamp)
        except InvalidEvent as error:
            if error.message == "Missing required field: projectId":
                yield _dead(record, index, "unknown project", line, error.message)
            else:
                yield _rejected(record, index, line, error, record.timestamp, None)
            continue
        if event.project_id not in policy.projects:
            yield _dead(record, index, "unknown project", line, f"project {event.project_id}")
            continue
        yield _row(
            event,
            project=event.project_id,
            event_id=event.event_id or foreign_id(policy.chain, record.partition, record.offset, index),
            timestamp=timestamp,
            received=record.timestamp,
            source=event.source or "kafka",
            visitor=None,
            country=None,
            agent=None,
            record=record,
            index=index,
        )


def _row(
    event: Event,
    *,
    project: int,
    event_id: str,
    timestamp: int,
    received: int,
    source: str,
    visitor: str | None,
    country: str | None,
    agent: str | None,
    record: LogRecord,
    index: int,
) -> Row:
    if event.user_id:
        distinct_id, identified_by = event.user_id, "user"
    elif event.anonymous_id:
        distinct_id, identified_by = event.anonymous_id, "anonymous"
    elif visitor:
        distinct_id, identified_by = visitor, "visitor"
    else:
        distinct_id, identified_by = "", None
    properties = event.properties
    return Row(
        project_id=project,
        event_id=event_id,
        event=event.event,
        distinct_id=distinct_id,
        identified_by=identified_by,
        anonymous_id=event.anonymous_id,
        session_id=event.session_id or None,
        timestamp=timestamp,
        received_at=received,
        source=source,
        is_pageview=is_pageview(event.event),
        is_system=is_system(event.event),
        properties=_ENCODER.encode(properties) if properties else _NO_PROPERTIES,
        context=_ENCODER.encode(event.context) if event.context is not None else None,
        web=enrich(properties, event.context, agent, country),
        kafka_partition=record.partition,
        kafka_offset=record.offset,
        record_index=index,
    )


def _rejected(
    record: LogRecord, index: int, line: bytes, error: InvalidEvent, received: int, project: int | None
) -> DeadLetter:
    reason: Reason = "malformed" if error.message.startswith("Malformed JSON") else "invalid event"
    return DeadLetter(record.partition, record.offset, index, reason, line, received, error.message, project)


def _dead(record: LogRecord, index: int, reason: Reason, raw: bytes, detail: str = "") -> DeadLetter:
    return DeadLetter(record.partition, record.offset, index, reason, raw, record.timestamp, detail)
