"""Frames of a stream: paced, identified, and ended."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

from api.live.realtime import Answer
from api.live.stream import event_id, frames


def answer(tag: str, body: bytes = b"{}") -> Answer:
    return Answer(body, b'W/"%b"' % tag.encode(), [], [])


async def allowed() -> bool:
    return True


async def refused() -> bool:
    return False


def collect(
    get: Callable[[], Answer],
    count: int,
    *,
    last_id: bytes = b"",
    clock: Callable[[], float],
    check: Callable[[], Awaitable[bool]] = allowed,
) -> list[bytes]:
    """The first frames; fewer if the stream ends before."""

    async def run() -> list[bytes]:
        stopping = asyncio.Event()
        found: list[bytes] = []
        async with asyncio.timeout(20):
            async for frame in frames(get, last_id, check, stopping, clock):
                found.append(frame)
                if len(found) == count:
                    stopping.set()
        return found

    return asyncio.run(run())


class Steps:
    """A clock that moves on by a step each time it is read."""

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_the_first_frame_says_when_to_come_back_and_the_second_has_the_figures() -> None:
    found = collect(lambda: answer("abc", b'{"events":1}'), 2, clock=Steps(0.01))
    assert found == [b"retry: 2000\n\n", b'id: abc\ndata: {"events":1}\n\n']


def test_figures_that_the_client_has_are_not_sent_again() -> None:
    asked: list[int] = []

    def get() -> Answer:
        asked.append(1)
        return answer("abc" if len(asked) < 3 else "def")

    found = collect(get, 2, last_id=b"abc", clock=Steps(1.0))
    assert found[1].startswith(b"id: def\n")
    assert len(asked) == 3


def test_figures_are_sent_at_most_once_a_second() -> None:
    tags = iter(range(1000))
    times: list[float] = []
    clock = Steps(0.1)

    def get() -> Answer:
        times.append(clock.now)
        return answer(str(next(tags)))

    collect(get, 4, clock=clock)
    assert all(later - earlier >= 0.99 for earlier, later in itertools.pairwise(times))


def test_a_quiet_stream_has_a_comment_each_fifteen_seconds() -> None:
    clock = Steps(5.0)
    found = collect(lambda: answer("abc"), 4, clock=clock)
    assert found[2:] == [b": still here\n\n"] * 2


def test_a_stream_ends_when_the_key_does_not_hold_any_more() -> None:
    found = collect(lambda: answer("abc"), 100, clock=Steps(10.0), check=refused)
    assert len(found) == 2


def test_event_id_is_the_bare_tag() -> None:
    assert event_id(b'W/"abc"') == b"abc"
