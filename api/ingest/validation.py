"""The checks every way in shares: one event, and the events of a batch."""

import re
from dataclasses import dataclass

import msgspec
from msgspec import Raw, Struct

from api.errors import Problem, bad_request, malformed, too_large
from api.ingest.splitting import split_array
from schemas.events import Event, EventLimits, InvalidEvent, ProblemCode, check_event, decode_event

_MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_SPACE = b" \t\r\n"
_LIST = msgspec.json.Decoder(list[Raw])
_ANY = msgspec.json.Decoder()
_FIELDS = msgspec.json.Decoder(dict[str, Raw])


class _Envelope(Struct):
    events: Raw = Raw()


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_EVENTS = re.compile(rb'"events"[ \t\r\n]*:[ \t\r\n]*(?=\[)')


@dataclass(frozen=True, slots=True)
class Refused:
    """One event that is not accepted, and what its sender is told."""

    code: ProblemCode
    message: str


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


def refused(problem: InvalidEvent) -> Refused:
    return Refused(problem.code, problem.message)


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
