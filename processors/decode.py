"""Kafka records to events and dead letters; pure, and the same for every reader of the log."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from itertools import chain

from processors.enrich.web import WEB_KEYS, enrich
from processors.faults import crash_on
from processors.instants import plain_instants
from schemas.deadletters import DeadLetter, Reason
from schemas.events import (
    HARD_LIMITS,
    Event,
    EventLimits,
    InvalidEvent,
    check_event,
    check_shapes,
    decode_ended,
    decode_event,
    decode_foreign,
)
from schemas.instants import parse_instant
from schemas.records import (
    COUNT_HEADER,
    FORMAT,
    FORMAT_HEADER,
    Broken,
    Segment,
    SegmentHeader,
    decode_segments,
    foreign_id,
    minted_id,
)
from schemas.rows import Events, Run

_LARGEST_PROJECT = 2**63 - 1
_YEAR_10000 = 253_402_300_800_000  # unix ms


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
    """What a decoder must know besides the record; the limits are those of foreign lines."""

    chain: str
    projects: Container[int]
    limits: EventLimits = field(default_factory=EventLimits)


@dataclass(slots=True)
class Decoded:
    """What records hold: every line is an event or in a dead letter."""

    events: Events = field(default_factory=Events)
    lines: list[bytes] = field(default_factory=list)  # of the events, with the byte that ends each
    rejects: list[DeadLetter] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.events) + len(self.rejects)

    def append(
        self, run: Run, events: list[Event], lines: Sequence[bytes], event_ids: list[str], indices: Sequence[int]
    ) -> None:
        """Append the events of one run."""
        into = self.events
        into.runs.append(run)
        into.events += events
        into.event_ids += event_ids
        into.indices += indices
        self.lines += lines

    def extend(self, other: "Decoded") -> None:
        """Append what other records hold."""
        self.events.extend(other.events)
        self.lines += other.lines
        self.rejects += other.rejects


def decode_record(record: LogRecord, policy: DecodePolicy, into: Decoded) -> None:
    """Append every line of a record, in order."""
    version = record.headers.get(FORMAT_HEADER)
    if not record.value:
        into.rejects.append(_dead(record, 0, "empty record", b""))
        return
    crash_on(record.value)
    if version is None:
        for index, line in enumerate(record.value.split(b"\n")):
            if line.strip():
                _foreign_line(record, index, line, policy, into)
    elif version != FORMAT.encode():
        into.rejects.append(_dead(record, 0, "unknown format", record.value))
    else:
        _ours(record, record.value, into)


def _ours(record: LogRecord, value: bytes, into: Decoded) -> None:
    parts = list(decode_segments(value, _count(record)))
    segments = [part for part in parts if isinstance(part, Segment)]
    lines = list(chain.from_iterable(segment.ended for segment in segments))
    # One call for all lines costs half of one for each; it does not say which line is bad.
    events = decode_ended(lines)
    if events is None or not _are_good(events, lines):
        events = []
    at = 0
    for part in parts:
        if isinstance(part, Broken):
            into.rejects.append(_dead(record, part.index, "broken segment", part.raw))
            continue
        end = at + len(part.ended)
        _segment(record, part, events[at:end], into)
        at = end


def _count(record: LogRecord) -> int | None:
    text = record.headers.get(COUNT_HEADER, b"")
    return int(text) if text.isdigit() and len(text) < 10 else -1


def _segment(record: LogRecord, segment: Segment, events: list[Event], into: Decoded) -> None:
    """`events` are those of all the lines, or none: then each line is looked at by itself."""
    header = segment.header
    if abs(header.project) > _LARGEST_PROJECT or not 0 <= header.received < _YEAR_10000:
        # Whoever may write the topic may write any header; the lake's columns hold 64 bits.
        detail = "segment header out of range"
        for index, line in enumerate(segment.lines, segment.first):
            into.rejects.append(_dead(record, index, "broken segment", line, detail))
        return
    lines = segment.ended
    indices: Sequence[int] = range(segment.first, segment.first + len(lines))
    if not events:
        places, events = _one_by_one(record, segment, into)
        lines, indices = [lines[place] for place in places], [indices[place] for place in places]
    event_ids = [event.event_id for event in events if event.event_id]
    if len(event_ids) < len(events):
        event_ids = [
            event.event_id or _other_id(header, index - segment.first)
            for index, event in zip(indices, events, strict=True)
        ]
    run = Run(
        record.partition,
        record.offset,
        len(events),
        header.project,
        header.received,
        header.source,
        header.visitor,
        header.country,
        header.agent,
    )
    into.append(run, events, lines, event_ids, indices)


def _are_good(events: list[Event], lines: Sequence[bytes]) -> bool:
    try:
        check_shapes(events, lines, HARD_LIMITS)
    except InvalidEvent:
        return False
    return True


def _other_id(header: SegmentHeader, place: int) -> str:
    ids = header.ids or ()
    return (ids[place] if place < len(ids) else None) or minted_id(header.base, place)


def _one_by_one(record: LogRecord, segment: Segment, into: Decoded) -> tuple[list[int], list[Event]]:
    """The good lines of a segment: their places in it, and the events."""
    places: list[int] = []
    events: list[Event] = []
    received, project = segment.header.received, segment.header.project
    for place, line in enumerate(segment.lines):
        try:
            event = decode_event(line)
            check_event(event, line, HARD_LIMITS, received)
        except InvalidEvent as error:
            into.rejects.append(_rejected(record, segment.first + place, line, error, received, project))
            continue
        places.append(place)
        events.append(event)
    return places, events


def _foreign_line(record: LogRecord, index: int, line: bytes, policy: DecodePolicy, into: Decoded) -> None:
    received = record.timestamp
    try:
        event = decode_foreign(line)
        check_event(event, line, policy.limits, received)
    except InvalidEvent as error:
        if error.message == "Missing required field: projectId":
            into.rejects.append(_dead(record, index, "unknown project", line, error.message))
        else:
            into.rejects.append(_rejected(record, index, line, error, received, None))
        return
    if event.project_id not in policy.projects:
        into.rejects.append(_dead(record, index, "unknown project", line, f"project {event.project_id}"))
        return
    event_id = event.event_id or foreign_id(policy.chain, record.partition, record.offset, index)
    run = Run(record.partition, record.offset, 1, event.project_id, received, "kafka")
    into.append(run, [event], [line + b"\n"], [event_id], [index])


def complete(found: Decoded) -> dict[int, DeadLetter]:
    """Set what is worked out of many events at once; returns what becomes of those whose time cannot be read."""
    _set_people(found.events)
    _set_webs(found.events)
    return _set_times(found)


def _set_people(events: Events) -> None:
    users = [event.user_id for event in events.events if event.user_id]
    if len(users) == len(events):
        events.distinct_ids, events.identified_by = users, ["user"] * len(users)
        return
    for event, run in zip(events.events, events.run_of_each(), strict=True):
        events.distinct_ids.append(event.user_id or event.anonymous_id or run.visitor or "")
        events.identified_by.append(
            "user" if event.user_id else "anonymous" if event.anonymous_id else "visitor" if run.visitor else None
        )


def _set_webs(events: Events) -> None:
    is_web = (
        any(run.agent is not None or run.country is not None for run in events.runs)
        or any(event.context is not None for event in events.events)
        or not all(map(WEB_KEYS.isdisjoint, [event.properties or () for event in events.events]))
    )
    if is_web:
        events.webs = [
            enrich(event.properties, event.context, run.agent, run.country)
            for event, run in zip(events.events, events.run_of_each(), strict=True)
        ]


def _set_times(found: Decoded) -> dict[int, DeadLetter]:
    events = found.events
    texts = [event.timestamp for event in events.events if event.timestamp is not None]
    if len(texts) == len(events) and (instants := plain_instants(texts)) is not None:
        events.timestamps = instants.data
        return {}
    bad: dict[int, DeadLetter] = {}
    found_instants: list[int] = []
    for place, (event, run) in enumerate(zip(events.events, events.run_of_each(), strict=True)):
        timestamp = run.received
        try:
            if event.timestamp is not None:
                timestamp = parse_instant(event.timestamp)
        except ValueError:
            detail = "Invalid field: timestamp"
            index = events.indices[place]
            line = found.lines[place][:-1]
            bad[place] = DeadLetter(
                run.partition, run.offset, index, "invalid event", line, run.received, detail, run.project
            )
        found_instants.append(timestamp)
    events.timestamps = found_instants
    return bad


def _rejected(
    record: LogRecord, index: int, line: bytes, error: InvalidEvent, received: int, project: int | None
) -> DeadLetter:
    reason: Reason = "malformed" if error.message.startswith("Malformed JSON") else "invalid event"
    return DeadLetter(record.partition, record.offset, index, reason, line, received, error.message, project)


def _dead(record: LogRecord, index: int, reason: Reason, raw: bytes, detail: str = "") -> DeadLetter:
    return DeadLetter(record.partition, record.offset, index, reason, raw, record.timestamp, detail)
