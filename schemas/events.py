"""One event in the core form: what a line may hold, and the checks every way in shares."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from schemas.instants import parse_instant

LONGEST_NAME = 256
_BACKSLASH = ord("\\")
ProblemCode = Literal["bad_request", "payload_too_large"]

_PATH = re.compile(r"- (?:in|at) `(?:key in )?\$\.(\w+)")


class InvalidEvent(ValueError):
    """An event that cannot be accepted, with the caller's error code and message."""

    def __init__(self, message: str, code: ProblemCode = "bad_request") -> None:
        super().__init__(message)
        self.code: ProblemCode = code
        self.message = message


class Context(Struct, gc=False, rename="camel", frozen=True):
    """What a browser knows of the page an event happened on."""

    url: str | None = None
    path: str | None = None
    title: str | None = None
    referrer: str | None = None
    user_agent: str | None = None


class Event(Struct, gc=False, rename="camel"):
    """The core form. Unknown fields are ignored; `null` counts as absent."""

    event: Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
    properties: dict[str, Any] | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    timestamp: str | None = None
    event_id: str | None = None
    source: str | None = None
    context: Context | None = None


class ForeignEvent(Event, gc=False, rename="camel", kw_only=True):
    """A line that a foreign Kafka client wrote: it must name its project."""

    project_id: int


@dataclass(frozen=True, slots=True)
class EventLimits:
    """How large and how far in the future one event may be."""

    event_bytes: int = 200 * 1024
    name_characters: int = LONGEST_NAME
    property_keys: int = 1000
    depth: int = 32
    string_characters: int = 64 * 1024
    id_characters: int = 512
    future_seconds: int = 366 * 24 * 3600
    # An event of no more bytes breaks none of the sizes, whatever is in it: a key takes four.
    harmless_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        least = min(self.id_characters, self.string_characters, 4 * self.property_keys, self.event_bytes)
        object.__setattr__(self, "harmless_bytes", least)


# What the door accepted stays accepted, whatever its settings are by the time the line is read.
HARD_LIMITS = EventLimits(
    event_bytes=200 * 1024,
    name_characters=LONGEST_NAME,
    property_keys=2**31,
    # Python can walk this deep; what the decoder gives up on is deeper still.
    depth=256,
    string_characters=2**31,
    id_characters=4096,
    future_seconds=2**40,
)

_EVENT = msgspec.json.Decoder(Event)
_FOREIGN = msgspec.json.Decoder(ForeignEvent)


def decode_event(raw: bytes) -> Event:
    """Decode one line of the core form; raises InvalidEvent."""
    try:
        return _EVENT.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise explain(error) from error


def decode_events(lines: Sequence[bytes]) -> list[Event] | None:
    """Decode many lines at once, in half the time; None when one of them is bad: then go line by line."""
    # Where every line starts and ends as an object, no value can reach over a line's end.
    if {line[:1] for line in lines} != {b"{"} or {line[-1:] for line in lines} != {b"}"}:
        return None
    return _decode_lines(b"\n".join(lines), len(lines))


def decode_ended(lines: Sequence[bytes]) -> list[Event] | None:
    """As `decode_events`, for lines with the byte that ends each."""
    if {line[0] for line in lines} != {ord("{")} or {line[-2] for line in lines} != {ord("}")}:
        return None
    return _decode_lines(b"".join(lines), len(lines))


def _decode_lines(text: bytes, count: int) -> list[Event] | None:
    try:
        events = _EVENT.decode_lines(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return events if len(events) == count else None


def decode_foreign(raw: bytes) -> ForeignEvent:
    """Decode one line of a foreign producer; raises InvalidEvent."""
    try:
        return _FOREIGN.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise explain(error) from error


def explain(error: Exception) -> InvalidEvent:
    """The caller's error for what the decoder said."""
    if not isinstance(error, msgspec.ValidationError):
        return InvalidEvent(
            "Malformed JSON: nested too deep" if isinstance(error, RecursionError) else "Malformed JSON"
        )
    text = str(error)
    if "missing required field" in text:
        return InvalidEvent(f"Missing required field: {text.split('`')[1]}")
    if (path := _PATH.search(text)) is None:
        return InvalidEvent("Invalid event: expected a JSON object")
    field = path.group(1)
    if field == "event" and ("length >= 1" in text or "got `null`" in text):
        return InvalidEvent("Missing required field: event")
    return InvalidEvent(f"Invalid field: {field}")


def check_event(event: Event, raw: bytes, limits: EventLimits, received: int) -> int:
    """Check what the decoder does not, and return the event time in unix ms.

    `raw` is the event's own JSON, `received` the unix ms it came in. Raises InvalidEvent.
    """
    size = len(raw)
    # First the depth: what walks the value after it may then recurse. A level takes two bytes, the event itself is one.
    if (
        size > 2 * limits.depth
        and raw.count(b"{") + raw.count(b"[") > limits.depth
        and _is_deeper(event.properties, limits.depth - 1)
    ):
        raise InvalidEvent("Invalid field: properties")
    if size > limits.harmless_bytes:
        _check_sizes(event, size, limits)
    if len(event.event) > limits.name_characters:
        raise InvalidEvent("Invalid field: event")
    # Looking for one byte by its number costs a sixth of looking for six, and few events escape anything.
    if _BACKSLASH in raw and b"\\u0000" in raw and _holds_nul(event):
        raise InvalidEvent("Invalid event: NUL characters are not allowed")
    if event.timestamp is None:
        return received
    try:
        timestamp = parse_instant(event.timestamp)
    except ValueError as error:
        raise InvalidEvent("Invalid field: timestamp") from error
    if timestamp - received > limits.future_seconds * 1000:
        raise InvalidEvent("Invalid field: timestamp")
    return timestamp


def check_shapes(events: Sequence[Event], lines: Sequence[bytes], limits: EventLimits) -> None:
    """What `check_event` checks of each but its time, at a tenth of the cost; raises InvalidEvent.

    Only for limits of a name that are no lower than the decoder's. `lines` have the byte that ends each.
    """
    # A line this short breaks no limit unless it holds a NUL.
    short = min(2 * limits.depth, limits.harmless_bytes)
    text = b"".join(lines)
    has_nul = _BACKSLASH in text and b"\\u0000" in text
    for event, line in zip(events, lines, strict=True):
        if (size := len(line) - 1) <= short and not has_nul:
            continue
        is_flat = line.count(b"{") + line.count(b"[") <= limits.depth
        if not is_flat or size > limits.harmless_bytes or has_nul:
            check_event(event, line[:-1], limits, 0)


def _check_sizes(event: Event, size: int, limits: EventLimits) -> None:
    if size > limits.event_bytes:
        raise InvalidEvent(f"Event too large: at most {limits.event_bytes} bytes", "payload_too_large")
    _check_ids(event, limits)
    if event.properties is not None:
        if len(event.properties) > limits.property_keys:
            raise InvalidEvent("Invalid field: properties")
        if size > limits.string_characters and _longest(event.properties) > limits.string_characters:
            raise InvalidEvent("Invalid field: properties")


def _check_ids(event: Event, limits: EventLimits) -> None:
    named = (
        ("userId", event.user_id),
        ("anonymousId", event.anonymous_id),
        ("sessionId", event.session_id),
        ("eventId", event.event_id),
        ("source", event.source),
    )
    for name, value in named:
        if value is not None and len(value) > limits.id_characters:
            raise InvalidEvent(f"Invalid field: {name}")


def _holds_nul(event: Event) -> bool:
    # The escape may itself be escaped ("\\u0000" as text), so look at what was decoded.
    return "\x00" in _texts(msgspec.to_builtins(event))


def _texts(value: Any) -> str:
    """All texts inside a decoded JSON value, joined."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "".join(key + _texts(item) for key, item in value.items())
    if isinstance(value, list):
        return "".join(map(_texts, value))
    return ""


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    children = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(child, levels - 1) for child in children)


def _longest(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return max((max(len(key), _longest(item)) for key, item in value.items()), default=0)
    if isinstance(value, list):
        return max(map(_longest, value), default=0)
    return 0
