"""Lists of single events: a page of them, and where the next one starts."""

import base64
import binascii
from dataclasses import dataclass
from typing import Self

import msgspec

from schemas.filters import EVERYTHING, Filter
from schemas.instants import from_millis
from schemas.questions import DEFAULT_LIMIT, InvalidQuestion
from schemas.windows import TimeRange


class EventCursor(msgspec.Struct, frozen=True, array_like=True):
    """The row a page ended with, and the range it was a page of: later pages stay in both."""

    start: int  # unix ms
    end: int
    timestamp: int
    partition: int
    offset: int
    index: int

    def encode(self) -> str:
        """Opaque text for the caller."""
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Self:
        """Raises InvalidQuestion for anything `encode` did not give."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            cursor = msgspec.msgpack.decode(raw, type=cls)
            for millis in (cursor.start, cursor.end, cursor.timestamp):
                from_millis(millis)
        except (binascii.Error, ValueError, OverflowError, msgspec.MsgspecError) as error:
            raise InvalidQuestion("Invalid parameter: cursor") from error
        return cursor


@dataclass(frozen=True, slots=True)
class EventsQuestion:
    """A page of one project's events, newest first."""

    project: int
    span: TimeRange
    limit: int = DEFAULT_LIMIT
    after: EventCursor | None = None
    event: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    source: str | None = None
    includes_bots: bool = False
    filters: Filter = EVERYTHING
    person: str | None = None  # under all their ids
