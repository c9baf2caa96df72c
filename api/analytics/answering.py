"""From a question to its answer: shared, planned, cached, and told how fresh it is."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, overload

from api.analytics.cache import AnswerCache, SingleFlight
from api.analytics.downloads import Downloads
from api.analytics.log_state import LogView, log_state
from api.errors import bad_request, gone, unavailable
from schemas.answers import EventDetail, EventItem, EventsAnswer
from schemas.exports import ExportFormat, ExportQuestion
from schemas.figures import BreakdownAnswer, BreakdownQuestion, OverviewAnswer, OverviewQuestion
from schemas.funnels import FunnelAnswer, FunnelQuestion
from schemas.goals import GoalAnswer, GoalQuestion
from schemas.heatmaps import ClicksAnswer, ClicksQuestion, HeatmapAnswer, HeatmapQuestion
from schemas.kept import SourceActivity
from schemas.letters import LettersAnswer, LettersQuestion
from schemas.listing import EventsQuestion
from schemas.names import EventName, NamesQuestion, PropertyKey, PropertyValue
from schemas.paths import PathsAnswer, PathsQuestion
from schemas.people import PeopleAnswer, PeopleQuestion, Person, ProjectCounts
from schemas.questions import InvalidQuestion
from schemas.retention import RetentionAnswer, RetentionQuestion
from schemas.series import Metric, SeriesAnswer, SeriesQuestion
from schemas.sessions import SessionAnswer, SessionPlace, SessionsAnswer, SessionsQuestion
from schemas.table import TableAnswer, TableQuestion
from schemas.windows import TimeRange, whole_second_after
from storage.errors import Gone, Refused, Unavailable
from storage.metrics import observe
from storage.query.breakdown import answer_breakdown
from storage.query.engine import Cursor, QueryEngine
from storage.query.events import find_event, list_events
from storage.query.exporting import Exporter
from storage.query.files import FilesAnswer, list_files
from storage.query.freshness import LogState, Watermark, rollups_cover
from storage.query.funnel import answer_funnel
from storage.query.goals import answer_goal
from storage.query.heatmaps import answer_clicks, answer_heatmap
from storage.query.identities import Identities
from storage.query.lake import Lake
from storage.query.letters import list_letters
from storage.query.names import event_names, property_keys, property_values
from storage.query.overview import answer_overview
from storage.query.partials import Partials
from storage.query.paths import answer_paths
from storage.query.people import count_project, find_person, list_people
from storage.query.pinned import PinnedLake, as_of, newest
from storage.query.planner import Plan, plan
from storage.query.retention import answer_retention
from storage.query.sandbox import SandboxPolicy, SqlAnswer, SqlQuestion, ask_sql
from storage.query.series import answer_series
from storage.query.sessions import find_session, list_sessions
from storage.query.sources import source_activity
from storage.query.table import answer_table

T = TypeVar("T")
Aliases: TypeAlias = Mapping[str, str]
# A version of the lake by its number, or the one that was the newest at an instant.
AsOf: TypeAlias = int | datetime
# How a question is answered from one version of the lake.
Answering: TypeAlias = Callable[[Cursor, Lake, Aliases, Plan], T]

# A search takes 70 ms of waiting and has a connection of its own; those beyond the line would only time out in it.
_SEARCH_THREADS = 4
_SMALL_BYTES = 64 * 1024
_ITEM_BYTES = 500  # of an item beside its properties
_ROWS = Plan(None, ())
_MOST_SEARCHES = 64
_NEWEST = 10
_NEWEST_RANGE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """An answer, the unix ms up to which everything accepted is in it, and the version of events it was made from."""

    answer: T
    watermark: int
    version: int = 0
    source: str = "rows"


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
        self._identities = Identities(lake)
        self._searches = ThreadPoolExecutor(_SEARCH_THREADS, thread_name_prefix="log-search")
        self._searching = 0
        self._is_running_sql = False
        self._downloads = Downloads()
        self._partials = Partials()
        self._exporter: Exporter | None = None

    @overload
    async def ask(self, question: OverviewQuestion, at: AsOf | None = None) -> Answered[OverviewAnswer]: ...
    @overload
    async def ask(self, question: BreakdownQuestion, at: AsOf | None = None) -> Answered[BreakdownAnswer]: ...
    @overload
    async def ask(self, question: SeriesQuestion, at: AsOf | None = None) -> Answered[SeriesAnswer]: ...
    @overload
    async def ask(self, question: FunnelQuestion, at: AsOf | None = None) -> Answered[FunnelAnswer]: ...
    @overload
    async def ask(self, question: RetentionQuestion, at: AsOf | None = None) -> Answered[RetentionAnswer]: ...
    @overload
    async def ask(self, question: PathsQuestion, at: AsOf | None = None) -> Answered[PathsAnswer]: ...
    @overload
    async def ask(self, question: GoalQuestion, at: AsOf | None = None) -> Answered[GoalAnswer]: ...
    @overload
    async def ask(self, question: SessionsQuestion, at: AsOf | None = None) -> Answered[SessionsAnswer]: ...
    @overload
    async def ask(self, question: EventsQuestion, at: AsOf | None = None) -> Answered[EventsAnswer]: ...
    @overload
    async def ask(self, question: TableQuestion, at: AsOf | None = None) -> Answered[TableAnswer]: ...
    @overload
    async def ask(self, question: HeatmapQuestion, at: AsOf | None = None) -> Answered[HeatmapAnswer]: ...
    @overload
    async def ask(self, question: ClicksQuestion, at: AsOf | None = None) -> Answered[ClicksAnswer]: ...
    @overload
    async def ask(self, question: PeopleQuestion, at: AsOf | None = None) -> Answered[PeopleAnswer]: ...
    async def ask(self, question: Any, at: AsOf | None = None) -> Answered[Any]:
        """The answer to any question, of the newest version or of one of the past.

        Identical questions run once, and an answer is kept until the lake moves. Raises Problem: 400 for a
        question that cannot be asked, 410 for a version that is gone, 503 while nothing can be answered.
        """
        project = question.selection.project if hasattr(question, "selection") else question.project
        return await self._answered(
            question,
            project,
            partial(self._answer_with, question),
            at,
            # Pages of events may have many megabytes.
            keeps=not isinstance(question, EventsQuestion | TableQuestion),
        )

    async def names(self, question: NamesQuestion, at: AsOf | None = None) -> Answered[tuple[EventName, ...]]:
        """Names of events; raises as `ask`."""
        return await self._answered(
            ("names", question), question.selection.project, lambda c, lake, *_: event_names(c, lake, question), at
        )

    async def properties(self, question: NamesQuestion, at: AsOf | None = None) -> Answered[tuple[PropertyKey, ...]]:
        """Keys of properties; raises as `ask`."""
        return await self._answered(
            ("keys", question), question.selection.project, lambda c, lake, *_: property_keys(c, lake, question), at
        )

    async def values(
        self, question: NamesQuestion, key: str, at: AsOf | None = None
    ) -> Answered[tuple[PropertyValue, ...]]:
        """Values of a property; raises as `ask`."""
        return await self._answered(
            ("values", question, key),
            question.selection.project,
            lambda c, lake, *_: property_values(c, lake, question, key),
            at,
        )

    async def session(
        self, project: int, place: SessionPlace, *, includes_bots: bool = False
    ) -> Answered[SessionAnswer | None]:
        """One session with its events; raises as `ask`."""
        return await self._answered(
            ("session", project, place, includes_bots),
            project,
            lambda cursor, lake, aliases, _: find_session(cursor, lake, project, place, includes_bots, aliases),
        )

    async def sql(self, question: SqlQuestion) -> SqlAnswer:
        """One statement of an analyst; raises Problem 400 for what is refused, 503 while another runs."""
        if self._is_running_sql:
            raise unavailable("Another statement runs now; send it again in a moment")
        self._is_running_sql = True
        try:
            return await self._ask(object(), lambda: self._work(lambda cursor: self._sql(cursor, question)))
        finally:
            self._is_running_sql = False

    async def export(
        self, question: ExportQuestion, form: ExportFormat, at: AsOf | None = None
    ) -> Answered[AsyncIterator[bytes]]:
        """Chunks of a download; raises as `ask`, and while they are read whatever breaks them off."""

        def prepare(cursor: Cursor) -> tuple[PinnedLake, Aliases, int]:
            log = self._log_state()
            watermark = self._watermark.read(log)
            lake = newest(self._lake) if at is None else as_of(self._lake, at)
            identities = Identities(lake) if lake.is_past else self._identities
            if lake.is_past:
                watermark = _watermark_of(lake, log)
            return lake, identities.of(cursor, question.selection.project), watermark

        async def start() -> Answered[AsyncIterator[bytes]]:
            lake, aliases, watermark = await self._work(prepare)
            if self._exporter is None:
                self._exporter = Exporter(self._lake.place)
            opening = partial(self._exporter.open, lake, question, aliases)
            chunks = await self._downloads.start(opening, form)
            return Answered(chunks, watermark, lake.pinned_version)

        return await self._ask(object(), start)

    async def dead_letters(self, question: LettersQuestion) -> LettersAnswer:
        """A page of dead letters; raises as `ask`."""
        return await self._ask(question, lambda: self._work(lambda cursor: list_letters(cursor, self._lake, question)))

    async def files(self, table: str | None, version: int | None) -> FilesAnswer:
        """The files of a table; raises as `ask`."""
        return await self._ask(
            ("files", table, version), lambda: self._work(lambda _: list_files(self._lake, table, version))
        )

    async def person(self, project: int, user_id: str) -> Answered[Person | None]:
        """Somebody by any of their ids; raises as `ask`."""
        return await self._answered(
            ("person", project, user_id),
            project,
            lambda cursor, lake, aliases, _: find_person(cursor, lake, project, user_id, aliases),
        )

    async def project_counts(self, project: int, since: datetime) -> Answered[ProjectCounts]:
        """What a project holds, and its events since an instant; raises as `ask`."""
        return await self._answered(
            ("counts", project, since),
            project,
            lambda cursor, lake, aliases, _: count_project(cursor, lake, project, since, aliases),
        )

    async def sources(
        self, project: int, sources: tuple[str, ...], since: datetime
    ) -> Answered[Mapping[str, SourceActivity]]:
        """What came from each source, ever and since an instant; raises as `ask`."""
        return await self._answered(
            ("sources", project, sources, since),
            project,
            lambda cursor, lake, *_: source_activity(cursor, lake, project, sources, since),
        )

    async def event(self, project: int, event_id: str) -> EventDetail | None:
        """One event, in the lake or still in the log; raises Problem 503."""
        return await self._ask((project, event_id), lambda: self._search(project, event_id))

    async def newest(self, project: int) -> Sequence[EventItem]:
        """The newest events of the last hour, for the realtime answer; raises Problem 503."""
        now = whole_second_after(datetime.now(UTC))
        question = EventsQuestion(project, TimeRange(now - _NEWEST_RANGE, now), _NEWEST)
        return (await self.ask(question)).answer.items

    def close(self) -> None:
        """Wait for running questions, turn away waiting ones, close the database. Blocks."""
        self._downloads.close()
        if self._exporter is not None:
            self._exporter.close()
        self._engine.close()
        self._searches.shutdown(cancel_futures=True)

    async def _ask(self, key: Hashable, start: Callable[[], Awaitable[T]]) -> T:
        try:
            return await self._flights.run(key, start)
        except Unavailable as error:
            raise unavailable(f"The question cannot be answered now: {error}") from error
        except InvalidQuestion as error:
            raise bad_request(str(error)) from error
        except Gone as error:
            raise gone(str(error)) from error
        except Refused as error:
            raise bad_request(f"The statement was refused: {error}") from error

    async def _answered(
        self, key: Hashable, project: int, answering: Answering[T], at: AsOf | None = None, *, keeps: bool = True
    ) -> Answered[T]:
        def work(cursor: Cursor) -> Answered[T]:
            return self._answer(cursor, key, project, answering, at, keeps)

        return await self._ask((key, at), lambda: self._work(work))

    def _answer(
        self, cursor: Cursor, key: Hashable, project: int, answering: Answering[T], at: AsOf | None, keeps: bool
    ) -> Answered[T]:
        log = self._log_state()
        # Before the rows are read: an answer may hold more than its watermark says, never less.
        watermark = self._watermark.read(log)
        lake = newest(self._lake) if at is None else as_of(self._lake, at)
        if lake.is_past:  # rarely asked, and its files may be gone at any time: not kept
            answer = answering(cursor, lake, Identities(lake).of(cursor, project), _ROWS)
            return Answered(answer, _watermark_of(lake, log), lake.pinned_version)
        planned = self._plan(cursor, key, log)
        versions = lake.pinned_version, None if planned.rollups is None else lake.version("rollups")
        source = planned.name.replace("events", "rows")
        kept: T | None = self._cache.get((key, planned), versions)
        if kept is not None:
            return Answered(kept, watermark, lake.pinned_version, source)
        started = time.monotonic()
        answer = answering(cursor, lake, self._identities.of(cursor, project), planned)
        if keeps or _is_small(answer):
            self._cache.put((key, planned), versions, answer)
        observe("streamgauge_query_seconds", time.monotonic() - started, plan=planned.name if keeps else "list")
        return Answered(answer, watermark, lake.pinned_version, source)

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

    def _sql(self, cursor: Cursor, question: SqlQuestion) -> SqlAnswer:
        started = time.monotonic()
        aliases = self._identities.of(cursor, question.project)
        answer = ask_sql(cursor, newest(self._lake), question, aliases, SandboxPolicy())
        observe("streamgauge_query_seconds", time.monotonic() - started, plan="sql")
        return answer

    def _stored_event(self, cursor: Cursor, project: int, event_id: str) -> tuple[dict[int, int], EventDetail | None]:
        log = self._log_state()
        # Before the lake is searched, so that no event falls between lake and log.
        positions = {} if log is None else self._lake.reader("events").positions(log.chain, range(log.partitions))
        return positions, find_event(cursor, self._lake, project, event_id)

    def _answer_with(self, question: Any, cursor: Cursor, lake: Lake, aliases: Aliases, planned: Plan) -> Any:
        if isinstance(question, SeriesQuestion):
            return answer_series(cursor, lake, question, aliases, planned, self._partials)
        if isinstance(question, OverviewQuestion):
            return answer_overview(cursor, lake, question, aliases, self._partials)
        return _ANSWERS[type(question)](cursor, lake, question, aliases)

    def _plan(self, cursor: Cursor, question: Hashable, log: LogState | None) -> Plan:
        """Rollups where they have the answer, hold all that events do, and know the people."""
        if not isinstance(question, SeriesQuestion):
            return _ROWS
        planned = plan(question)
        if planned.rollups is None or log is None or not rollups_cover(self._lake, log):
            return _ROWS
        is_of_people = question.measure.metric is Metric.UNIQUE_USERS
        if is_of_people and self._identities.of(cursor, question.selection.project):
            return _ROWS  # their sketches are of ids as they were sent
        return planned

    def _log_state(self) -> LogState | None:
        return log_state(self._log.statuses(), self._partitions())


def _is_small(answer: Any) -> bool:
    """Whether a page of events may be kept: a thousand of them must not fill the memory."""
    if not isinstance(answer, EventsAnswer):
        return False
    return sum(len(bytes(item.properties)) + _ITEM_BYTES for item in answer.items) < _SMALL_BYTES


def _watermark_of(lake: PinnedLake, log: LogState | None) -> int:
    """Of a version of the past: what it had read of each partition."""
    if log is None:
        return 0
    return min((lake.total(f"{log.chain}/{partition}#last_ts") for partition in range(log.partitions)), default=0)


_ANSWERS: Mapping[type, Callable[[Cursor, Lake, Any, Aliases], Any]] = {
    BreakdownQuestion: answer_breakdown,
    FunnelQuestion: answer_funnel,
    RetentionQuestion: answer_retention,
    PathsQuestion: answer_paths,
    GoalQuestion: answer_goal,
    SessionsQuestion: list_sessions,
    EventsQuestion: list_events,
    TableQuestion: answer_table,
    HeatmapQuestion: answer_heatmap,
    ClicksQuestion: answer_clicks,
    PeopleQuestion: list_people,
}
