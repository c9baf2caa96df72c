"""Newest events, the state of the log, and an engine that is full."""

import asyncio
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.analytics.answering import Analytics
from api.analytics.log_state import SilentLog, log_state
from api.analytics.opening import open_analytics
from api.errors import Problem
from api.settings import ApiSettings
from schemas.answers import EventDetail
from schemas.listing import EventsQuestion
from schemas.live import PartitionStatus
from schemas.windows import TimeRange
from storage.query.engine import Cursor, EnginePolicy, QueryEngine
from storage.query.freshness import LogEnd, LogState
from storage.query.lake import Lake
from tests.factories import LakeWriter, event_row

NOW = datetime.now(UTC)


def _status(partition: int, chain: str, at: int, end: int) -> PartitionStatus:
    return PartitionStatus(chain, partition, end, end, end, "live", at, at, at, "worker-0", None, at - 1)


def test_newest_events_of_the_last_hour(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    minutes = [*range(20), 61]
    writer.append([event_row(NOW - timedelta(minutes=m), event_id=f"{m}") for m in minutes])
    analytics = Analytics(QueryEngine(writer.place), Lake(writer.place), SilentLog(), lambda: 0)
    found = asyncio.run(analytics.newest(1))
    analytics.close()
    assert [item.event_id for item in found] == [f"{m}" for m in range(10)]


def test_full_engine_is_a_503_that_says_when_to_come_back(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    engine = QueryEngine(writer.place, EnginePolicy(threads=1, waiting=0))
    analytics = Analytics(engine, Lake(writer.place), SilentLog(), lambda: 0)
    gate = threading.Event()

    def hold(_: Cursor) -> None:
        gate.wait(10)

    running = engine.submit(hold)
    with pytest.raises(Problem) as caught:
        asyncio.run(analytics.ask(EventsQuestion(1, TimeRange(NOW, NOW))))
    gate.set()
    running.result()
    analytics.close()
    assert caught.value.status == 503
    assert caught.value.headers[0][0] == b"retry-after"


class SlowFinder:
    """A log that answers when it is let, and counts who asked."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked: list[str] = []

    def find(self, project: int, event_id: str, positions: Mapping[int, int]) -> EventDetail | None:
        self.asked.append(event_id)
        self.gate.wait(10)
        return EventDetail(event_id, "in_log", 0, 0)


def test_searches_of_the_log_hold_up_no_question_and_are_bounded(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    finder = SlowFinder()
    engine = QueryEngine(writer.place, EnginePolicy(threads=1, waiting=100))
    analytics = Analytics(engine, Lake(writer.place), SilentLog(), lambda: 0, finder)

    async def main() -> list[EventDetail | BaseException | None]:
        searches = [asyncio.create_task(analytics.event(1, f"{number % 65}")) for number in range(100)]
        # Answered while every search waits.
        await analytics.ask(EventsQuestion(1, TimeRange(NOW, NOW)))
        while not any(search.done() for search in searches):
            await asyncio.sleep(0.01)
        finder.gate.set()
        return await asyncio.gather(*searches, return_exceptions=True)

    results = asyncio.run(main())
    analytics.close()
    refused = [result for result in results if isinstance(result, Problem)]
    assert {problem.status for problem in refused} == {503}
    assert len(refused) == 1
    assert len(finder.asked) == 64  # the same id is looked for once


def test_log_state_is_that_of_the_chain_heard_last() -> None:
    assert log_state([], 4) is None
    statuses = [_status(0, "old", 10, 900), _status(1, "new", 20, 7), _status(5, "new", 15, 3)]
    assert log_state(statuses, 4) == LogState("new", 6, {1: LogEnd(7, 19), 5: LogEnd(3, 14)})


def test_opened_from_settings_before_there_is_a_lake_or_a_log(tmp_path: Path) -> None:
    settings = ApiSettings(data_dir=tmp_path)
    settings.directory.create()
    open_analytics(settings, SilentLog(), lambda: 0).close()
