"""Newest events: read one project at a time, only while they are asked for."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from api.live.recent import RecentEvents
from schemas.answers import EventItem, raw_json


def item(name: str, properties: str = "{}") -> EventItem:
    return EventItem("evt_1", name, raw_json(properties), None, "2027-01-15T08:00:00Z", "api")


async def _run(recent: RecentEvents, work: "asyncio.Future[None] | asyncio.Task[None]") -> None:
    task = asyncio.create_task(recent.run())
    try:
        async with asyncio.timeout(20):
            await work
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_the_first_poll_waits_for_the_list() -> None:
    async def load(project: int) -> Sequence[EventItem]:
        return [item(f"event of {project}")]

    async def check() -> None:
        recent = RecentEvents(load)
        assert recent.get(7) == b"null"
        await _run(recent, asyncio.create_task(recent.first(7)))
        assert msgspec.json.decode(recent.get(7))[0]["event"] == "event of 7"

    asyncio.run(check())


def test_a_line_has_no_properties() -> None:
    async def load(project: int) -> Sequence[EventItem]:
        return [item("order", '{"note": "' + "x" * 60_000 + '"}')] * 10

    async def check() -> None:
        recent = RecentEvents(load)
        await _run(recent, asyncio.create_task(recent.first(7)))
        assert len(recent.get(7)) < 1200
        assert msgspec.json.decode(recent.get(7))[0] == {
            "eventId": "evt_1",
            "event": "order",
            "userId": None,
            "timestamp": "2027-01-15T08:00:00Z",
            "source": "api",
        }

    asyncio.run(check())


def test_a_lake_that_cannot_be_read_leaves_the_list_unknown(caplog: pytest.LogCaptureFixture) -> None:
    async def load(project: int) -> Sequence[EventItem]:
        raise RuntimeError("disk away")

    async def check() -> None:
        recent = RecentEvents(load)
        await _run(recent, asyncio.create_task(recent.first(7)))
        assert recent.get(7) == b"null"

    asyncio.run(check())
    assert "newest events not read" in caplog.text


def test_a_slow_lake_holds_up_no_poll() -> None:
    async def load(project: int) -> Sequence[EventItem]:
        await asyncio.sleep(60)
        return []

    async def check() -> None:
        recent = RecentEvents(load)
        await _run(recent, asyncio.create_task(recent.first(7)))
        assert recent.get(7) == b"null"

    asyncio.run(check())


def test_lists_are_read_again_while_polled_and_forgotten_after() -> None:
    loads: list[int] = []
    now = 0.0

    async def load(project: int) -> Sequence[EventItem]:
        loads.append(project)
        return []

    async def check() -> None:
        nonlocal now
        recent = RecentEvents(load, lambda: now)
        recent.get(1)
        recent.get(2)

        async def until(count: int) -> None:
            while len(loads) < count:
                await asyncio.sleep(0.01)

        await _run(recent, asyncio.create_task(until(2)))
        now = 5.0
        recent.get(1)
        await _run(recent, asyncio.create_task(until(4)))
        now = 12.0
        await _run(recent, asyncio.create_task(until(5)))
        assert recent.get(2) == b"null", "nobody asked for it for ten seconds"

    asyncio.run(check())
    assert sorted(loads[:4]) == [1, 1, 2, 2]
    assert loads[4] == 1
