"""From a question to its answer: shared, planned, cached, and told how fresh it is."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, Protocol, TypeVar

from api.analytics.cache import AnswerCache, SingleFlight
from api.analytics.log_state import LogView, log_state
from api.errors import unavailable
from schemas.answers import EventDetail, EventItem, EventsAnswer, MetricAnswer
from schemas.questions import EventsQuestion, MetricQuestion
from schemas.windows import TimeRange, whole_second_after
from storage.errors import Unavailable
from storage.metrics import observe
from storage.query.engine import Cursor, QueryEngine
from storage.query.events import find_event, list_events
from storage.query.freshness import LogState, Watermark, rollups_cover
from storage.query.lake import Lake
from storage.query.planner import Plan, plan, without_rollups
from storage.query.series import answer_metric

T = TypeVar("T")

# A search takes 70 ms of waiting and has a connection of its own; those beyond the line would only time out in it.
_SEARCH_THREADS = 4
_MOST_SEARCHES = 64
_NEWEST = 10
_NEWEST_RANGE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """An answer and the unix ms up to which everything accepted is in it."""

    answer: T
    watermark: int


class LogFinder(Protocol):
    """Looks for an event in the part of the log that is not in the lake yet."""

    def find(self, project: int, event_id: str, positions: Mapping[int, int]) -> EventDetail | None:
        """The event if it is at or after the positions. May block for seconds; raises Unavailable."""


class Analytics:
    """The one way from a route to the lake. For one event loop; the work is done in the engine's threads."""

    def __init__(
        self,
        engine: QueryEngine,
        lake: Lake,
        log: LogView,
        partitions: Callable[[], int],
        finder: LogFinder | None = None,
    ) -> None:
        """`partitions` tells those of the events topic, 0 while unknown; without a finder only the lake is searched."""
        self._engine = engine
        self._lake = lake
        self._log = log
        self._partitions = partitions
        self._finder = finder
        self._flights = SingleFlight()
        self._cache = AnswerCache()
        self._watermark = Watermark(lake)
        self._searches = ThreadPoolExecutor(_SEARCH_THREADS, thread_name_prefix="log-search")
        self._searching = 0

    async def events(self, question: EventsQuestion) -> Answered[EventsAnswer]:
        """A page of events; raises Problem 503. Pages are not kept, since one may have many megabytes."""
        return await self._ask(question, lambda: self._work(lambda cursor: self._events(cursor, question)))

    async def metric(self, question: MetricQuestion) -> Answered[MetricAnswer]:
        """A series; raises Problem 503."""
        return await self._ask(question, lambda: self._work(lambda cursor: self._metric(cursor, question)))

    async def event(self, project: int, event_id: str) -> EventDetail | None:
        """One event, in the lake or still in the log; raises Problem 503."""
        return await self._ask((project, event_id), lambda: self._search(project, event_id))

    async def newest(self, project: int) -> Sequence[EventItem]:
        """The newest events of the last hour, for the realtime answer; raises Problem 503."""
        now = whole_second_after(datetime.now(UTC))
        question = EventsQuestion(project, TimeRange(now - _NEWEST_RANGE, now), _NEWEST)
        return (await self.events(question)).answer.items

    def close(self) -> None:
        """Wait for running questions, turn away waiting ones, close the database. Blocks."""
        self._engine.close()
        self._searches.shutdown(cancel_futures=True)

    async def _ask(self, key: Hashable, start: Callable[[], Awaitable[T]]) -> T:
        try:
            return await self._flights.run(key, start)
        except Unavailable as error:
            raise unavailable(f"The question cannot be answered now: {error}") from error

    async def _work(self, work: Callable[[Cursor], T]) -> T:
        return await asyncio.wrap_future(self._engine.submit(work))

    async def _search(self, project: int, event_id: str) -> EventDetail | None:
        positions, found = await self._work(lambda cursor: self._stored_event(cursor, project, event_id))
        if found is not None or self._finder is None:
            return found
        if self._searching == _MOST_SEARCHES:
            raise Unavailable("too many events are looked for at once, try again in a moment")
        self._searching += 1
        try:
            # Not in the engine's threads: a search mostly waits for the broker.
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._searches, self._finder.find, project, event_id, positions)
        finally:
            self._searching -= 1

    def _events(self, cursor: Cursor, question: EventsQuestion) -> Answered[EventsAnswer]:
        started = time.monotonic()
        watermark = self._watermark.read(self._log_state())
        answer = list_events(cursor, self._lake, question)
        observe("streamgauge_query_seconds", time.monotonic() - started, plan="list")
        return Answered(answer, watermark)

    def _metric(self, cursor: Cursor, question: MetricQuestion) -> Answered[MetricAnswer]:
        started = time.monotonic()
        log = self._log_state()
        # Both are read before the rows are: an answer may hold more than its watermark says, never less.
        watermark = self._watermark.read(log)
        planned = self._plan(question, log)
        versions = self._versions()
        answer: MetricAnswer | None = self._cache.get((question, planned), versions)
        if answer is None:
            answer = answer_metric(cursor, self._lake, question, planned)
            self._cache.put((question, planned), versions, answer)
            observe("streamgauge_query_seconds", time.monotonic() - started, plan=answer.plan)
        return Answered(answer, watermark)

    def _stored_event(self, cursor: Cursor, project: int, event_id: str) -> tuple[dict[int, int], EventDetail | None]:
        log = self._log_state()
        # Before the lake is searched, so that no event falls between lake and log.
        positions = {} if log is None else self._lake.reader("events").positions(log.chain, range(log.partitions))
        return positions, find_event(cursor, self._lake, project, event_id)

    def _plan(self, question: MetricQuestion, log: LogState | None) -> Plan:
        planned = plan(question)
        if planned.rollups is not None and (log is None or not rollups_cover(self._lake, log)):
            return without_rollups(question)
        return planned

    def _versions(self) -> tuple[int, int]:
        age = self._lake.max_age_seconds
        return self._lake.reader("events").version(age), self._lake.reader("rollups").version(age)

    def _log_state(self) -> LogState | None:
        return log_state(self._log.statuses(), self._partitions())
