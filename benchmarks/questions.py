"""Twelve questions of dashboards and eight that somebody just thought of, for us and in SQL for others."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from benchmarks.history import SPAN
from schemas.figures import BreakdownQuestion, OverviewQuestion
from schemas.filters import EVERYTHING, Filter, equals
from schemas.funnels import FunnelQuestion, Step
from schemas.retention import RetentionQuestion
from schemas.selection import Selection
from schemas.series import Measure, Metric, SeriesQuestion
from schemas.windows import Interval, TimeRange, buckets
from storage.query.breakdown import answer_breakdown
from storage.query.engine import Cursor
from storage.query.funnel import answer_funnel
from storage.query.lake import Lake
from storage.query.overview import answer_overview
from storage.query.partials import Partials
from storage.query.planner import plan
from storage.query.retention import answer_retention
from storage.query.series import answer_series

PROJECT: Final = 7
_UTC: Final = ZoneInfo("UTC")
_LAST_DAY: Final = TimeRange(SPAN.end - timedelta(days=1), SPAN.end)
_LAST_WEEK: Final = TimeRange(SPAN.end - timedelta(days=7), SPAN.end)
Language = Literal["clickhouse", "duckdb"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question; `ask` gives a number that the sum of the last column of each statement must come near.

    Only dashboards use what is kept of days that are over, as they do in the API.
    """

    name: str
    ask: Callable[[Cursor, Lake, Partials], float]
    sql: dict[Language, str]
    tolerance: float = 1e-6
    is_dashboard: bool = False


def dashboards() -> list[Asked]:
    """What rollups answer."""
    everything = [
        ("events by day", Metric.EVENTS_COUNT, SPAN, Interval.DAY, None),
        ("events by hour", Metric.EVENTS_COUNT, SPAN, Interval.HOUR, None),
        ("events by hour, a day", Metric.EVENTS_COUNT, _LAST_DAY, Interval.HOUR, None),
        ("events by week", Metric.EVENTS_COUNT, SPAN, Interval.WEEK, None),
        ("pageviews by day", Metric.PAGEVIEWS, SPAN, Interval.DAY, None),
        ("pageviews by hour, a week", Metric.PAGEVIEWS, _LAST_WEEK, Interval.HOUR, None),
        ("signups by day", Metric.EVENTS_COUNT, SPAN, Interval.DAY, "signup"),
        ("purchases by hour, a week", Metric.EVENTS_COUNT, _LAST_WEEK, Interval.HOUR, "buy"),
        ("people by day", Metric.UNIQUE_USERS, SPAN, Interval.DAY, None),
        ("people by hour, a day", Metric.UNIQUE_USERS, _LAST_DAY, Interval.HOUR, None),
        ("people of the month", Metric.UNIQUE_USERS, SPAN, Interval.MONTH, None),
        ("buyers by day", Metric.UNIQUE_USERS, SPAN, Interval.DAY, "buy"),
    ]
    return [_series(*one) for one in everything]


def ad_hoc() -> list[Asked]:
    """What only rows answer."""
    return list(_ad_hoc())


def _selection(span: TimeRange = SPAN, filters: Filter = EVERYTHING) -> Selection:
    return Selection(PROJECT, span, filters)


def _where(span: TimeRange = SPAN) -> str:
    start, end = (f"{instant:%Y-%m-%d %H:%M:%S}" for instant in (span.start, span.end))
    return f"FROM events WHERE project_id = {PROJECT} AND timestamp >= '{start}' AND timestamp < '{end}'"


def _trunc(interval: Interval) -> dict[Language, str]:
    clickhouse = {
        Interval.HOUR: "toStartOfHour(timestamp)",
        Interval.DAY: "toStartOfDay(timestamp)",
        Interval.WEEK: "toMonday(timestamp)",
        Interval.MONTH: "toStartOfMonth(timestamp)",
    }
    return {"clickhouse": clickhouse[interval], "duckdb": f"date_trunc('{interval}', timestamp)"}


def _series(name: str, metric: Metric, span: TimeRange, interval: Interval, event: str | None) -> Asked:
    filters = EVERYTHING if event is None else equals("event", event)
    question = SeriesQuestion(_selection(span, filters), Measure(metric), tuple(buckets(span, interval, _UTC)))
    planned = plan(question)
    assert planned.rollups is not None
    wanted = " AND is_pageview" if metric is Metric.PAGEVIEWS else "" if event is None else f" AND event = '{event}'"
    is_people = metric is Metric.UNIQUE_USERS
    people = {"clickhouse": "uniq(distinct_id)", "duckdb": "approx_count_distinct(distinct_id)"}
    return Asked(
        name,
        lambda cursor, lake, kept: _total(answer_series(cursor, lake, question, {}, planned, kept).series[0].data),
        {
            language: f"SELECT {trunc} AS bucket, {people[language] if is_people else 'count(*)'}"
            f" {_where(span)}{wanted} GROUP BY bucket ORDER BY bucket"
            for language, trunc in _trunc(interval).items()
        },
        0.05 if is_people else 1e-6,
        is_dashboard=True,
    )


def _total(values: tuple[float | None, ...]) -> float:
    return sum(value or 0 for value in values)


def _both(sql: str) -> dict[Language, str]:
    return {"clickhouse": sql, "duckdb": sql}


def _ad_hoc() -> Iterator[Asked]:
    days = tuple(buckets(SPAN, Interval.DAY, _UTC))
    day = _trunc(Interval.DAY)

    def series(metric: Measure, filters: Filter = EVERYTHING, *, is_exact: bool = False) -> Callable[..., float]:
        question = SeriesQuestion(_selection(SPAN, filters), metric, days, is_exact=is_exact)
        return lambda cursor, lake, _: _total(answer_series(cursor, lake, question, {}).series[0].data)

    amount: dict[Language, str] = {
        "clickhouse": "JSONExtractFloat(properties, 'amount')",
        "duckdb": "(properties ->> '$.amount')::DOUBLE",
    }
    percentile = {"clickhouse": "quantileExactInclusive(0.95)({})", "duckdb": "quantile_cont({}, 0.95)"}

    yield Asked(
        "events of a country by day",
        series(Measure(Metric.EVENTS_COUNT), equals("country", "DE")),
        {key: f"SELECT {by} AS d, count(*) {_where()} AND country = 'DE' GROUP BY d" for key, by in day.items()},
    )
    yield Asked(
        "exact people by day",
        series(Measure(Metric.UNIQUE_USERS), is_exact=True),
        {key: f"SELECT {by} AS d, count(DISTINCT distinct_id) {_where()} GROUP BY d" for key, by in day.items()},
    )
    yield Asked(
        "sum of a property by day",
        series(Measure(Metric.SUM, "amount"), equals("event", "buy")),
        {
            key: f"SELECT {by} AS d, sum({amount[key]}) {_where()} AND event = 'buy' GROUP BY d"
            for key, by in day.items()
        },
    )
    yield Asked(
        "95th percentile of a property by day",
        series(Measure(Metric.PERCENTILE, "amount", 95), equals("event", "buy")),
        {
            key: f"SELECT {by} AS d, {percentile[key].format(amount[key])} {_where()} AND event = 'buy' GROUP BY d"
            for key, by in day.items()
        },
    )
    pages = BreakdownQuestion(_selection(), "path", "pageviews", 100)
    # Every session has one id here, and is shorter than a day.
    yield Asked(
        "pages with their people, sessions and bounces",
        lambda cursor, lake, _: sum(row.pageviews for row in answer_breakdown(cursor, lake, pages, {}).rows),
        _both(
            "WITH visits AS (SELECT session_id, sum(CASE WHEN is_pageview THEN 1 ELSE 0 END) = 1 AS is_bounce,"
            f" max(timestamp) - min(timestamp) AS duration {_where()} GROUP BY session_id),"
            f" views AS (SELECT path, session_id, count(*) AS n {_where()} AND is_pageview GROUP BY path, session_id),"
            f" people AS (SELECT path, count(DISTINCT distinct_id) AS visitors {_where()} AND is_pageview"
            " GROUP BY path)"
            " SELECT views.path, any_value(visitors), sum(CASE WHEN is_bounce THEN 1 ELSE 0 END), avg(duration),"
            " count(*), sum(n) AS pageviews FROM views JOIN visits USING (session_id) JOIN people USING (path)"
            " GROUP BY views.path ORDER BY pageviews DESC LIMIT 100"
        ),
    )
    overview = OverviewQuestion(_selection(_LAST_WEEK))
    yield Asked(
        "visitors, sessions and bounces of a week",
        lambda cursor, lake, _: answer_overview(cursor, lake, overview, {}).total.sessions,
        _both(
            f"WITH visits AS (SELECT session_id, sum(CASE WHEN is_pageview THEN 1 ELSE 0 END) AS views, count(*) AS n,"
            f" max(timestamp) - min(timestamp) AS duration {_where(_LAST_WEEK)} GROUP BY session_id)"
            " SELECT sum(n), sum(views), sum(CASE WHEN views = 1 THEN 1 ELSE 0 END), avg(duration),"
            f" (SELECT count(DISTINCT distinct_id) {_where(_LAST_WEEK)}), count(*) FROM visits"
        ),
    )
    names = ("pageview", "signup", "buy")
    funnel = FunnelQuestion(_selection(), tuple(Step(name, equals("event", name)) for name in names), timedelta(days=1))
    steps = ", ".join(f"event = '{name}'" for name in names)
    yield Asked(
        "a funnel of three steps",
        lambda cursor, lake, _: sum(step.count for step in answer_funnel(cursor, lake, funnel, {}).steps),
        {
            "clickhouse": "SELECT level, level * count(*) FROM (SELECT"
            f" windowFunnel(86400000000)(toUInt64(toUnixTimestamp64Micro(timestamp)), {steps}) AS level {_where()}"
            " GROUP BY distinct_id) GROUP BY level",
            "duckdb": f"WITH rows AS (SELECT distinct_id, event, timestamp {_where()}),"
            " one AS (SELECT distinct_id, timestamp, timestamp AS t1 FROM rows WHERE event = 'pageview'),"
            " two AS (SELECT s.distinct_id, s.timestamp, t1 FROM (FROM rows WHERE event = 'signup') AS s ASOF JOIN one"
            " ON s.distinct_id = one.distinct_id AND s.timestamp >= one.timestamp"
            " WHERE s.timestamp - t1 <= INTERVAL 1 DAY),"
            " three AS (SELECT s.distinct_id FROM (FROM rows WHERE event = 'buy') AS s ASOF JOIN two"
            " ON s.distinct_id = two.distinct_id AND s.timestamp >= two.timestamp"
            " WHERE s.timestamp - t1 <= INTERVAL 1 DAY)"
            " SELECT 1, count(DISTINCT distinct_id) FROM one UNION ALL SELECT 2, count(DISTINCT distinct_id) FROM two"
            " UNION ALL SELECT 3, count(DISTINCT distinct_id) FROM three",
        },
    )
    retention = RetentionQuestion(_selection(), days)
    yield Asked(
        "retention by day",
        lambda cursor, lake, _: sum(
            sum(cohort.values[1:]) for cohort in answer_retention(cursor, lake, retention, {}).cohorts
        ),
        {
            key: f"WITH seen AS (SELECT DISTINCT distinct_id, {by} AS d {_where()}),"
            " born AS (SELECT distinct_id, min(d) AS first FROM seen GROUP BY distinct_id)"
            " SELECT first, d, count(*) FROM seen JOIN born USING (distinct_id) WHERE d > first GROUP BY first, d"
            for key, by in day.items()
        },
    )
