"""One run for all who ask at once, and answers that end with their version."""

import asyncio

import pytest

from api.analytics.cache import AnswerCache, SingleFlight


class Work:
    """Something slow that counts its runs."""

    def __init__(self) -> None:
        self.runs = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.runs += 1
        run = self.runs
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return run


def test_identical_questions_in_flight_run_once() -> None:
    async def main() -> None:
        flights, work = SingleFlight(), Work()
        asked = [asyncio.create_task(flights.run("q", work)) for _ in range(100)]
        other = asyncio.create_task(flights.run("other", work))
        await asyncio.sleep(0)
        work.gate.set()
        assert await asyncio.gather(*asked, other) == [*[1] * 100, 2]
        assert work.runs == 2
        assert await flights.run("q", work) == 3

    asyncio.run(main())


def test_error_reaches_everybody_and_is_not_kept() -> None:
    async def main() -> None:
        flights, work = SingleFlight(), Work()
        work.error = ValueError("no")
        work.gate.set()
        for caught in await asyncio.gather(*(flights.run("q", work) for _ in range(3)), return_exceptions=True):
            assert isinstance(caught, ValueError)
        work.error = None
        assert await flights.run("q", work) == 2

    asyncio.run(main())


def test_caller_who_leaves_does_not_stop_the_others() -> None:
    async def main() -> None:
        flights, work = SingleFlight(), Work()
        leaving, staying = (asyncio.create_task(flights.run("q", work)) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        work.gate.set()
        assert await staying == 1

    asyncio.run(main())


def test_answer_serves_until_its_version_moves() -> None:
    cache = AnswerCache()
    cache.put("q", (1, 1), "old")
    assert cache.get("q", (1, 1)) == "old"
    assert cache.get("q", (2, 1)) is None
    cache.put("q", (2, 1), "new")
    assert (cache.get("q", (1, 1)), cache.get("q", (2, 1))) == (None, "new")


def test_cache_forgets_what_was_used_longest_ago() -> None:
    cache = AnswerCache(capacity=2)
    cache.put("a", 1, "A")
    cache.put("b", 1, "B")
    assert cache.get("a", 1) == "A"
    cache.put("c", 1, "C")
    assert [cache.get(question, 1) for question in "abc"] == ["A", None, "C"]
