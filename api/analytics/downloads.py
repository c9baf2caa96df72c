"""Downloads as they are made: a thread writes, the caller reads at its own pace, and neither holds all of it."""

import asyncio
import io
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, Protocol, TypeAlias, cast

from schemas.exports import ExportFormat
from storage.errors import Unavailable

# Each has a thread and a scan of the lake.
MOST_DOWNLOADS = 4
_CHUNK_BYTES = 64 * 1024
_WAITING_CHUNKS = 4
# A reader that takes nothing for so long is gone, whatever its connection says.
_PATIENCE_SECONDS = 60
_LOOK_SECONDS = 0.2


class _Gone(Exception):
    """Nobody reads any more."""


class Rows(Protocol):
    """What is downloaded."""

    def write(self, form: ExportFormat, sink: BinaryIO, /) -> None:
        """All of it, in a format."""


Opening: TypeAlias = Callable[[], AbstractContextManager[Rows]]


class Downloads:
    """The downloads of a process. For one event loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(MOST_DOWNLOADS, thread_name_prefix="download")
        self._running: set[_Pipe] = set()

    async def start(self, opening: Opening, form: ExportFormat) -> AsyncIterator[bytes]:
        """The chunks; what cannot be asked is raised here, before the first. Raises Unavailable."""
        if len(self._running) == MOST_DOWNLOADS:
            raise Unavailable("too many downloads at once, try again when one has ended")
        pipe = _Pipe(asyncio.get_running_loop())
        self._running.add(pipe)
        work = self._pool.submit(pipe.fill, opening, form)
        work.add_done_callback(lambda _: pipe.loop.call_soon_threadsafe(self._running.discard, pipe))
        try:
            await pipe.opened
        except BaseException:
            pipe.leave()
            raise
        return pipe.chunks()

    def close(self) -> None:
        """Break off what runs. Blocks."""
        for pipe in list(self._running):
            pipe.leave()
        self._pool.shutdown(wait=True, cancel_futures=True)


class _Pipe(io.RawIOBase):
    """From the thread that writes to the loop that reads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.opened: asyncio.Future[None] = loop.create_future()
        self._chunks: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(_WAITING_CHUNKS)
        self._gathered = bytearray()
        self._left = threading.Event()

    def fill(self, opening: Opening, form: ExportFormat) -> None:
        """The work of the thread."""
        try:
            with opening() as answer:
                self.loop.call_soon_threadsafe(_resolve, self.opened, None)
                answer.write(form, cast(BinaryIO, self))
            self._put(bytes(self._gathered))
            self._put(None)
        except _Gone:
            pass
        except BaseException as error:  # the edge of a thread: whoever reads must be told, whatever it is
            self.loop.call_soon_threadsafe(_resolve, self.opened, error)
            if not self._left.is_set():
                self._put(error)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Until the end; raises what the thread met, so that a part is never taken for the whole."""
        try:
            while (chunk := await self._chunks.get()) is not None:
                if isinstance(chunk, BaseException):
                    raise chunk
                yield chunk
        finally:
            self.leave()

    def leave(self) -> None:
        """Nobody reads any more; the thread ends at its next write."""
        self._left.set()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._gathered += data
        if len(self._gathered) >= _CHUNK_BYTES:
            self._put(bytes(self._gathered))
            self._gathered.clear()
        return len(data)

    def _put(self, chunk: bytes | BaseException | None) -> None:
        placed: Future[None] = asyncio.run_coroutine_threadsafe(self._chunks.put(chunk), self.loop)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self._left.is_set() and time.monotonic() < deadline:
            try:
                placed.result(_LOOK_SECONDS)
                return
            except NotYet:
                continue
        placed.cancel()
        raise _Gone


def _resolve(opened: "asyncio.Future[None]", error: BaseException | None) -> None:
    if not opened.done():
        if error is None:
            opened.set_result(None)
        else:
            opened.set_exception(error)
