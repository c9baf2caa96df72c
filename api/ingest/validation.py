"""The checks every way in shares: one event, and the events of a batch."""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
from msgspec import Raw, Struct

from api.errors import Problem, bad_request, malformed, too_large
from api.ingest.splitting import split_array
from schemas.events import Event, EventLimits, InvalidEvent, ProblemCode, check_event, decode_event, decode_events
from schemas.instants import FIRST, LAST, from_millis

_MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_SPACE = b" \t\r\n"
_BACKSLASH = ord("\\")
_LIST = msgspec.json.Decoder(list[Raw])
_ANY = msgspec.json.Decoder()
_EVENT = msgspec.json.Decoder(Event)
_FIELDS = msgspec.json.Decoder(dict[str, Raw])


class _Envelope(Struct):
    events: Raw = Raw()


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_ARRAYS = ((b"[", b"]"), (b'{"events":[', b"]}"), (b'{"events": [', b"]}"))
_EVENTS = re.compile(rb'"events"[ \t\r\n]*:[ \t\r\n]*(?=\[)')


@dataclass(frozen=True, slots=True)
class Refused:
    """One event that is not accepted, and what its sender is told."""

    code: ProblemCode
    message: str


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of a batch that are accepted, their lines for the log, and the others by their index."""

    events: list[Event] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    refused: dict[int, Refused] = field(default_factory=dict)


def check_batch(body: bytes, most: int, limits: EventLimits, received: int, source: str | None) -> Batch:
    """What a batch holds; `source` is where its key says it came from. Raises Problem as `split_batch` does."""
    if source is None and (batch := _faultless(body, most, limits, received)) is not None:
        return batch
    batch = Batch()
    for index, raw in enumerate(split_batch(body, most)):
        try:
            event, line = check_line(stamped(raw, source), limits, received)
        except InvalidEvent as error:
            batch.refused[index] = Refused(error.code, error.message)
        else:
            batch.events.append(event)
            batch.lines.append(line)
    return batch


def _faultless(body: bytes, most: int, limits: EventLimits, received: int) -> Batch | None:
    """The same batch all at once, in a third of the time; None where something in it needs a closer look."""
    if not _is_text(body) or (_BACKSLASH in body and b"\\u0000" in body):
        return None
    events, lines = _decoded(body)
    if not events or len(events) > most:
        return None
    # All that opens beyond the events and their two objects might be one nest in one event.
    objects = sum([(event.properties is not None) + (event.context is not None) for event in events])
    if body.count(b"{") + body.count(b"[") - len(events) - objects > limits.depth - 3:
        return None
    if any(name.isspace() or len(name) > limits.name_characters for name in {event.event for event in events}):
        return None
    if not _are_times([event.timestamp for event in events if event.timestamp is not None], limits, received):
        return None
    if max(map(len, lines)) > limits.harmless_bytes:
        try:
            for event, line in zip(events, lines, strict=True):
                if len(line) > limits.harmless_bytes:
                    check_event(event, line, limits, received)
        except InvalidEvent:
            return None
    return Batch(events, lines)


def _decoded(body: bytes) -> tuple[list[Event], list[bytes]]:
    """The events of an array without line feeds or of one object a line, and their lines; none where it is neither."""
    if b"\n" not in body:
        for start, end in _ARRAYS:
            if body.startswith(start) and body.endswith(end):
                text = body[len(start) : -len(end)]
                return _parted(text, b"},{") or _parted(text, b"}, {") or ([], [])
        return [], []  # one object, which may be an envelope
    lines = body.strip(_SPACE).split(b"\n")
    return decode_events(lines) or [], lines


def _parted(text: bytes, between: bytes) -> tuple[list[Event], list[bytes]] | None:
    """The events of an array's inside, if this is what stands between them.

    Where the same bytes stand elsewhere (in a text, or between other objects) a line feed for a comma leaves no JSON:
    where every line is an event, they were what the array was made of.
    """
    text = text.replace(between, b"}\n{")
    try:
        events = _EVENT.decode_lines(text)
    except _MALFORMED:
        return None
    lines = text.split(b"\n")
    return (events, lines) if len(events) == len(lines) else None


def _is_text(body: bytes) -> bool:
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _are_times(texts: list[str], limits: EventLimits, received: int) -> bool:
    """Whether all are instants that `check_event` takes; not all that it takes are seen to be."""
    if not texts:
        return True
    try:
        times = list(map(datetime.fromisoformat, texts))
        latest = from_millis(received) + timedelta(seconds=limits.future_seconds)
        return min(times) >= FIRST and max(times) < min(LAST, latest)
    except (ValueError, TypeError, OverflowError):  # TypeError: some have a zone, some do not
        return False


def check_line(raw: bytes, limits: EventLimits, received: int) -> tuple[Event, bytes]:
    """The event of some JSON, and the line that goes into the log. Raises InvalidEvent."""
    event = decode_event(raw)
    check_event(event, raw, limits, received)
    if event.event.isspace():
        raise InvalidEvent("Missing required field: event")
    # Fields that nobody knows are not decoded, and could hold anything.
    if not raw.isascii():
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            raise InvalidEvent("Malformed JSON") from error
    # Outside of texts, where JSON forbids it, a line feed is only space.
    return event, raw.replace(b"\n", b" ") if b"\n" in raw else raw


def stamped(raw: bytes, source: str | None) -> bytes:
    """JSON of an event that is from the source, whatever it says itself; what is no object is left for its check."""
    if source is None:
        return raw
    try:
        fields = _FIELDS.decode(raw)
    except _MALFORMED:
        return raw
    fields["source"] = Raw(msgspec.json.encode(source))
    return msgspec.json.encode(fields)


def check_syntax(body: bytes) -> None:
    """Raises Problem 400 unless a body is JSON, or lines of JSON with at least one among them."""
    try:
        _ANY.decode(body)
    except _MALFORMED as error:
        if not any(_is_json(line) for line in body.split(b"\n") if line.strip(_SPACE)):
            raise malformed() from error


def split_batch(body: bytes, most: int) -> list[bytes]:
    """The events of a batch, each as its own bytes: an array, `{"events": [...]}`, or NDJSON.

    Raises Problem 400 for what is none of them and for no events, 413 for more than `most`.
    """
    start = body.lstrip(_SPACE)[:1]
    if not start:
        raise malformed()
    items = _listed(body) if start == b"[" else _enveloped(body) if start == b"{" else None
    if items is None:
        items = [stripped for line in body.split(b"\n") if (stripped := line.strip(_SPACE))]
    if not items:
        raise bad_request("Missing required field: events")
    if len(items) > most:
        raise too_large(f"Batch too large: at most {most} events")
    return items


def problem_of(error: InvalidEvent) -> Problem:
    """The answer to a single event that is not accepted."""
    return too_large(error.message) if error.code == "payload_too_large" else bad_request(error.message)


def _listed(body: bytes) -> list[bytes]:
    try:
        return [bytes(raw) for raw in _LIST.decode(body)]
    except _MALFORMED as error:
        # One item that no decoder takes, half a character or a nest of thousands, is no reason to lose the rest.
        if (found := split_array(body, body.index(b"["))) is None or body[found[1] :].strip(_SPACE):
            raise malformed() from error
        return found[0]


def _enveloped(body: bytes) -> list[bytes] | None:
    """The items of an envelope; None where the body is no single object, or one without `events`."""
    try:
        events = bytes(_ENVELOPE.decode(body).events)
    except _MALFORMED:
        return _entangled(body)
    if not events:
        return None
    try:
        return [bytes(raw) for raw in _LIST.decode(events)]
    except _MALFORMED as error:
        raise bad_request("Invalid field: events") from error


def _entangled(body: bytes) -> list[bytes] | None:
    """The items of an envelope, one of which no decoder takes."""
    if (named := _EVENTS.search(body)) is None or (found := split_array(body, named.end())) is None:
        return None
    items, end = found
    try:
        rest = _ENVELOPE.decode(body[: named.end()] + b"[]" + body[end:])
    except _MALFORMED:
        return None
    return items if bytes(rest.events) == b"[]" else None


def _is_json(line: bytes) -> bool:
    try:
        _ANY.decode(line)
    except _MALFORMED:
        return False
    return True
