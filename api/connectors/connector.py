"""What every connector is: windows of its provider's time, each an endless repeatable read of items."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from aiohttp import ClientSession

from schemas.windows import TimeRange

# No event of more bytes is taken anyway; what is longer is cut, and then no event.
LONGEST_ITEM: Final = 1024 * 1024


class NotPullable(ValueError):
    """The credentials of a source do not let anybody read; the message says which would."""


class ProviderFailed(Exception):
    """A provider did not give a whole window. The message is for people, and holds nothing it was sent or said.

    With `is_error` False it only asked for time: `wait_seconds` where it said how much.
    """

    def __init__(self, message: str, *, is_error: bool = True, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.is_error = is_error
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a provider as an event in the core form, and the bytes it came in; unreadable ones are empty."""

    event: Mapping[str, Any]
    size: int


class Connector(Protocol):
    """One account of a provider. An item has the same `eventId` however often it is read."""

    @property
    def window(self) -> timedelta:
        """How much is read in one go: windows start at whole days of UTC, or at whole hours."""

    @property
    def settles(self) -> timedelta:
        """How long after a window's end the provider still adds to it."""

    def items(self, session: ClientSession, window: TimeRange) -> AsyncGenerator[Item, None]:
        """All of a window, in bounded memory. Raises ProviderFailed, perhaps after some items."""


def settled_window(connector: Connector, cursor: datetime, now: datetime) -> TimeRange | None:
    """The window that begins at the cursor, if nothing more is added to it."""
    end = cursor + connector.window
    return TimeRange(cursor, end) if end + connector.settles <= now else None


class Lines:
    """Cuts a stream of bytes at line feeds and keeps at most one item of it."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that end in it."""
        *lines, rest = (self._rest + chunk).split(b"\n")
        self._rest = rest[: LONGEST_ITEM + 1]
        return lines

    def end(self) -> list[bytes]:
        """What came after the last line feed."""
        rest, self._rest = self._rest, b""
        return [rest] if rest.strip() else []
