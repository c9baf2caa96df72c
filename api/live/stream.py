"""The figures as server-sent events: at most one a second, and only when they changed."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from api.live.realtime import Answer

COMMENT_SECONDS = 15.0
_EVENT_SECONDS = 1.0
# How often a quiet stream looks; also how long the end of the process may go unseen.
_TICK_SECONDS = 0.25
_RETRY_MILLIS = 2000
_COMMENT = b": still here\n\n"


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
