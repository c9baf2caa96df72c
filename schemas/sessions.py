"""Sessions: what somebody did in one go."""

import base64
import binascii
from dataclasses import dataclass
from typing import Self, TypeVar

import msgspec
from msgspec import Struct

from schemas.answers import EventItem
from schemas.instants import from_millis
from schemas.questions import DEFAULT_LIMIT, InvalidQuestion
from schemas.selection import Selection

T = TypeVar("T")
_PREFIX = "sess_"


class SessionPlace(Struct, frozen=True, array_like=True):
    """What tells a session from all others: whose it is, and when it began."""

    track: str
    began: int  # unix ms

    @property
    def id(self) -> str:
        """Opaque text for the caller."""
        return _PREFIX + _encode(self)

    @classmethod
    def of(cls, text: str) -> Self | None:
        """None for anything `id` did not give."""
        try:
            place = _decode(text.removeprefix(_PREFIX), cls)
            from_millis(place.began)
        except (ValueError, OverflowError):
            return None
        return place if text.startswith(_PREFIX) else None


class SessionCursor(Struct, frozen=True, array_like=True):
    """The session a page ended with, and the range it was a page of."""

    start: int  # unix ms
    end: int
    began: int
    track: str

    def encode(self) -> str:
        """Opaque text for the caller."""
        return _encode(self)

    @classmethod
    def decode(cls, text: str) -> Self:
        """Raises InvalidQuestion for anything `encode` did not give."""
        try:
            cursor = _decode(text, cls)
            for millis in (cursor.start, cursor.end, cursor.began):
                from_millis(millis)
        except (ValueError, OverflowError) as error:
            raise InvalidQuestion("Invalid parameter: cursor") from error
        return cursor


@dataclass(frozen=True, slots=True)
class SessionsQuestion:
    """A page of the sessions that began in a selection's range and hold a chosen event, newest first."""

    selection: Selection
    limit: int = DEFAULT_LIMIT
    after: SessionCursor | None = None
    user_id: str | None = None


class SessionItem(Struct, frozen=True, rename="camel"):
    """One session; instants as ISO text, times whole seconds."""

    id: str
    session_id: str | None  # the client's own
    user_id: str | None
    started_at: str
    ended_at: str
    duration_seconds: int
    pageviews: int
    events: int
    entry_path: str | None
    exit_path: str | None
    referrer: str | None
    country: str | None
    device: str | None
    bounced: bool


@dataclass(frozen=True, slots=True)
class SessionsAnswer:
    """A page of sessions, the number of all, and where the next page starts."""

    items: tuple[SessionItem, ...]
    total: int
    next: SessionCursor | None
    version: int


@dataclass(frozen=True, slots=True)
class SessionAnswer:
    """A session with its ordinary events in time, the first thousand of them."""

    session: SessionItem
    events: tuple[EventItem, ...]
    version: int


def _encode(value: Struct) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(value)).decode().rstrip("=")


def _decode(text: str, kind: type[T]) -> T:
    """Raises ValueError."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.msgpack.decode(raw, type=kind)
    except (binascii.Error, msgspec.MsgspecError) as error:
        raise ValueError("not ours") from error
