"""Accepted events as they come, for everybody who listens to a project: one reader of the log for the whole process."""

import asyncio
import logging
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event as Flag

from api.errors import Problem, unavailable
from api.live.framing import Framing
from api.log.reading import LogRecord
from storage.errors import Unavailable

logger = logging.getLogger(__name__)

# Everything that is appended to the log from now on, gathered for a moment each: at first nothing, then what came.
Tail = Callable[[], Generator[list[LogRecord], None, None]]

# Each holds a connection, and up to five seconds of events.
MOST_STREAMS = 100
MOST_STREAMS_OF_A_PROJECT = 20
# Ten blocks come in a second at most, with a megabyte together.
_MOST_BLOCKS = 50
# The log is given five seconds for each of two answers.
_ATTACH_SECONDS = 10.0


class Listener:
    """Who listens to a project; blocks are whole frames of server-sent events."""

    def __init__(self, project: int) -> None:
        self.project = project
        self.blocks: asyncio.Queue[bytes] = asyncio.Queue(_MOST_BLOCKS)
        # Nothing comes any more: the listener was too slow, or the log is gone.
        self.is_over = asyncio.Event()


class AcceptedEvents:
    """Reads the end of the log while somebody listens. For one event loop."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._listeners: dict[int, set[Listener]] = {}
        # One thread: a new reading waits for the end of the one before.
        self._pool = ThreadPoolExecutor(1, "accepted-events")
        self._reading: _Reading | None = None

    async def open(self, project: int) -> Listener:
        """A listener that misses nothing from now on; close it. Raises Problem 429 or 503."""
        if len(self._listeners.get(project, ())) >= MOST_STREAMS_OF_A_PROJECT:
            raise Problem(429, f"At most {MOST_STREAMS_OF_A_PROJECT} streams of a project at once; end one of them")
        if sum(map(len, self._listeners.values())) >= MOST_STREAMS:
            raise unavailable("Too many streams are open; try again later")
        listener = Listener(project)
        self._listeners.setdefault(project, set()).add(listener)
        try:
            await self._attached()
        except BaseException:
            self.close(listener)
            raise
        return listener

    def close(self, listener: Listener) -> None:
        """This one listens no more; safe to repeat."""
        others = self._listeners.get(listener.project, set())
        others.discard(listener)
        if not others:
            self._listeners.pop(listener.project, None)
        if not self._listeners and self._reading is not None:
            self._reading.is_over.set()
            self._reading = None

    async def stop(self) -> None:
        """End everything."""
        if self._reading is not None:
            self._reading.is_over.set()
        await asyncio.to_thread(self._pool.shutdown)

    async def _attached(self) -> None:
        if self._reading is None:
            self._reading = _Reading(self._tail, self._has_listener, self._deliver, self._end)
            self._pool.submit(self._reading.run)
        try:
            async with asyncio.timeout(_ATTACH_SECONDS):
                await asyncio.shield(self._reading.attached)
        except (Unavailable, TimeoutError) as error:
            raise unavailable("The log does not answer now; try again in a moment") from error

    def _has_listener(self, project: int) -> bool:
        """The thread that reads asks this."""
        return project in self._listeners

    def _deliver(self, blocks: Mapping[int, bytes]) -> None:
        for project, block in blocks.items():
            for listener in self._listeners.get(project, ()):
                try:
                    listener.blocks.put_nowait(block)
                except asyncio.QueueFull:
                    listener.is_over.set()

    def _end(self, reading: "_Reading") -> None:
        """It has failed: so have all that listened, and who comes next begins anew."""
        if self._reading is reading:
            self._reading = None
            for listener in (one for some in self._listeners.values() for one in some):
                listener.is_over.set()


class _Reading:
    """Reads the end of the log in a thread, and hands what it finds to the event loop that made it."""

    def __init__(
        self,
        tail: Tail,
        is_wanted: Callable[[int], bool],
        deliver: Callable[[Mapping[int, bytes]], None],
        on_failure: Callable[["_Reading"], None],
    ) -> None:
        self._tail = tail
        self._framing = Framing(is_wanted)
        self._deliver = deliver
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        # Done once nothing is missed that is appended.
        self.attached: asyncio.Future[None] = self._loop.create_future()
        self.is_over = Flag()

    def run(self) -> None:
        """Until it is over."""
        if self.is_over.is_set():
            return
        try:
            self._read()
        except Exception as error:  # the edge of a thread; told to those who wait, and to those who listen
            logger.warning("accepted events cannot be read", exc_info=True)
            self._loop.call_soon_threadsafe(self._fail, error)

    def _read(self) -> None:
        with closing(self._tail()) as incoming:
            next(incoming)
            self._loop.call_soon_threadsafe(self.attached.set_result, None)
            for records in incoming:
                if self.is_over.is_set():
                    return
                if blocks := self._framing.blocks(records, time.monotonic()):
                    self._loop.call_soon_threadsafe(self._deliver, blocks)

    def _fail(self, error: Exception) -> None:
        if not self.attached.done():
            self.attached.set_exception(error)
            self.attached.exception()  # seen, though all who waited may have gone
        self._on_failure(self)
