"""Server-sent events: the figures at most once a second and when they changed, and accepted events as they come."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.types import Receive, Scope, Send

from api.live.accepted import Listener
from api.live.realtime import Answer
from api.middleware import ABORT

COMMENT_SECONDS = 15.0
_EVENT_SECONDS = 1.0
# How often a quiet stream looks; also how long the end of the process may go unseen.
_TICK_SECONDS = 0.25
_RETRY_MILLIS = 2000
_COMMENT = b": still here\n\n"
# A reader that does not even take the end of its stream would hold up the end of the process.
_END_SECONDS = 1.0
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # Without it nginx gathers what it should pass on.
    (b"x-accel-buffering", b"no"),
)


def event_id(tag: bytes) -> bytes:
    """A tag as the id of an event: the same figures have the same id in every process."""
    return tag.removeprefix(b"W/").strip(b'"')


async def frames(
    get: Callable[[], Answer],
    last_id: bytes,
    is_allowed: Callable[[], Awaitable[bool]],
    stopping: asyncio.Event,
    now: Callable[[], float] = time.monotonic,
) -> AsyncIterator[bytes]:
    """Frames until the process stops or the caller may not read any more; `last_id` is what a client has already.

    Only the newest figures are ever sent: a reader that is slow to take one frame misses those in between.
    """
    yield b"retry: %d\n\n" % _RETRY_MILLIS
    commented = now()
    sent = float("-inf")
    while not stopping.is_set():
        if now() - sent >= _EVENT_SECONDS:
            answer = get()
            if (identity := event_id(answer.tag)) != last_id:
                last_id, sent = identity, now()
                yield b"id: %b\ndata: %b\n\n" % (identity, answer.body)
        if now() - commented >= COMMENT_SECONDS:
            if not await is_allowed():
                return
            commented = now()
            yield _COMMENT
        await asyncio.sleep(_TICK_SECONDS)


async def event_frames(
    listener: Listener,
    is_allowed: Callable[[], Awaitable[bool]],
    stopping: asyncio.Event,
    now: Callable[[], float] = time.monotonic,
) -> AsyncIterator[bytes]:
    """Blocks of accepted events as they come, until nothing comes any more or the caller may not read."""
    yield b"retry: %d\n\n" % _RETRY_MILLIS
    commented = now()
    while not (stopping.is_set() or listener.is_over.is_set()):
        if now() - commented >= COMMENT_SECONDS:
            if not await is_allowed():
                return
            commented = now()
            yield _COMMENT
        try:
            async with asyncio.timeout(_TICK_SECONDS):
                block = await listener.blocks.get()
        except TimeoutError:
            continue
        yield block


async def pour(content: AsyncIterator[bytes], scope: Scope, receive: Receive, send: Send, *ends: asyncio.Event) -> None:
    """The body of an answer, until it ends, the client goes, or one of the ends comes."""
    pump = asyncio.create_task(_pump(content, send))
    gone = asyncio.create_task(_disconnected(receive))
    ended = [asyncio.create_task(end.wait()) for end in ends]
    try:
        await asyncio.wait((pump, gone, *ended), return_when=asyncio.FIRST_COMPLETED)
        if not gone.done():
            await asyncio.wait((pump,), timeout=_END_SECONDS)
        if not (gone.done() or pump.done()) and (abort := scope.get(ABORT)) is not None:
            # Its buffers are full, and it may never take them.
            abort()
            await asyncio.wait((gone,), timeout=_END_SECONDS)
    finally:
        for task in (pump, gone, *ended):
            task.cancel()
        await asyncio.gather(pump, gone, *ended, return_exceptions=True)
    if pump.done() and not pump.cancelled():
        pump.result()


async def _pump(content: AsyncIterator[bytes], send: Send) -> None:
    async for frame in content:
        # Returns when the client has taken enough of what was sent before: a slow one holds up only itself.
        await send({"type": "http.response.body", "body": frame, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
