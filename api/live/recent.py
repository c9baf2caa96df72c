"""The newest events of the projects that are polled, read from the lake in the background."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from msgspec import Struct

from schemas.answers import EventItem

logger = logging.getLogger(__name__)

# Newest first; raises what a question raises.
Load = Callable[[int], Awaitable[Sequence[EventItem]]]

# The lake moves with each flush, some seconds apart.
_FRESH_SECONDS = 2.0
_UNPOLLED_SECONDS = 10.0
# A project's first poll waits so long; then the list is null, which says that it was not read.
_FIRST_SECONDS = 1.0
_IDLE_SECONDS = 0.1
# A read is followed by nine times its length of rest: at most a tenth of a core, however many projects are polled.
_REST = 9
_UNKNOWN = b"null"


class RecentEvent(Struct, frozen=True, rename="camel"):
    """One line of a dashboard's list. Without properties: they may be 64 KB each, and every poll carries the list."""

    event_id: str
    event: str
    user_id: str | None
    timestamp: str
    source: str


class _List:
    """What is known of one project's newest events."""

    __slots__ = ("content", "first", "loaded_at", "polled_at")

    def __init__(self) -> None:
        self.content = _UNKNOWN
        self.first = asyncio.Event()
        self.loaded_at = float("-inf")
        self.polled_at = 0.0


class RecentEvents:
    """Lists by project, brought up to date one at a time while they are asked for. For one event loop."""

    def __init__(self, load: Load, now: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._now = now
        self._lists: dict[int, _List] = {}

    def get(self, project: int) -> bytes:
        """The list as JSON, at once; `null` before it was read."""
        known = self._lists.get(project)
        if known is None:
            known = self._lists[project] = _List()
        known.polled_at = self._now()
        return known.content

    async def first(self, project: int) -> None:
        """Wait until a project's list was read once, or for a second."""
        if self.get(project) is _UNKNOWN:
            try:
                await asyncio.wait_for(self._lists[project].first.wait(), _FIRST_SECONDS)
            except TimeoutError:
                logger.debug("newest events not read in time", extra={"project": project})

    async def run(self) -> None:
        """Read lists until cancelled."""
        while True:
            started = self._now()
            project = self._next(started)
            if project is None:
                await asyncio.sleep(_IDLE_SECONDS)
            else:
                await self._read(project, self._lists[project])
                await asyncio.sleep((self._now() - started) * _REST)

    def _next(self, now: float) -> int | None:
        """The project whose list is oldest and due; drops those that nobody asks for any more."""
        self._lists = {
            project: known for project, known in self._lists.items() if now - known.polled_at < _UNPOLLED_SECONDS
        }
        due = [project for project, known in self._lists.items() if now - known.loaded_at >= _FRESH_SECONDS]
        return min(due, key=lambda project: self._lists[project].loaded_at, default=None)

    async def _read(self, project: int, known: _List) -> None:
        try:
            known.content = msgspec.json.encode([_line(item) for item in await self._load(project)])
        except Exception:  # the edge of a background task: the list stays as it is until the next try
            logger.warning("newest events not read", extra={"project": project}, exc_info=True)
        known.loaded_at = self._now()
        known.first.set()


def _line(item: EventItem) -> RecentEvent:
    return RecentEvent(item.event_id, item.event, item.user_id, item.timestamp, item.source)
