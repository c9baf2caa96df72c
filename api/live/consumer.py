"""From the live topic into the view: messages come in a thread and are applied on the event loop."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from api.live.view import LiveView
from schemas.live import LiveMessage

# Of messages; called in the source's thread, returns once they are applied.
Deliver = Callable[[Sequence[LiveMessage]], None]

_EXPIRE_SECONDS = 10
# An event loop that does not take a batch for so long is closed, or as good as.
_APPLY_SECONDS = 60


class LiveSource(Protocol):
    """Where live messages come from."""

    def start(self, deliver: Deliver, on_end: Callable[[], None]) -> None:
        """Begin to read in a thread of its own; `on_end` is called there once, when all that was there was given."""

    def stop(self) -> None:
        """Blocks until the thread has ended."""


class LiveFeed:
    """Keeps a view up to date while it is open. All of the view's use is on the event loop."""

    def __init__(self, view: LiveView, source: LiveSource) -> None:
        self._view = view
        self._source = source
        self._expiry: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._expiry = asyncio.create_task(self._expire(), name="live-expiry")
        self._source.start(self._deliver, self._end)

    async def stop(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            await asyncio.gather(self._expiry, return_exceptions=True)
        await asyncio.to_thread(self._source.stop)

    def _deliver(self, messages: Sequence[LiveMessage]) -> None:
        # Waiting here holds back the source, so that a long backlog does not pile up in memory.
        self._run(lambda: self._apply(messages))

    def _end(self) -> None:
        self._run(self._complete)

    def _run(self, work: Callable[[], None]) -> None:
        done: Future[None] = Future()

        def run() -> None:
            try:
                work()
            except Exception as error:  # carried to the thread that asked, which logs it
                done.set_exception(error)
            else:
                done.set_result(None)

        self._loop.call_soon_threadsafe(run)
        done.result(_APPLY_SECONDS)

    def _apply(self, messages: Sequence[LiveMessage]) -> None:
        for message in messages:
            self._view.apply(message)

    def _complete(self) -> None:
        self._view.is_complete = True

    async def _expire(self) -> None:
        while True:
            self._view.expire(time.time_ns() // 1_000_000)
            await asyncio.sleep(_EXPIRE_SECONDS)
