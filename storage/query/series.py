"""A measure over time, from rollups and events as planned."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from schemas.answers import EXACT, Accuracy
from schemas.figures import OverviewQuestion
from schemas.selection import Selection
from schemas.series import OF_PROPERTIES, Measure, Metric, Series, SeriesAnswer, SeriesQuestion
from schemas.windows import TimeRange
from storage.lake.sessions import IN_TIME, PLACE
from storage.query.buckets import BucketIndex, bucketed, measured, spread
from storage.query.engine import Cursor, Row
from storage.query.fields import field_sql, number_sql
from storage.query.filters import filter_sql
from storage.query.lake import DAWN, Lake
from storage.query.overview import answer_overview
from storage.query.partials import Partials
from storage.query.planner import Plan
from storage.query.rollups import hourly_counts, hourly_people
from storage.query.rows import Rows
from storage.sketches import STORED_LG_K, People, PeopleUnion, standard_error

_IS_SOMEBODY = "person <> ''"
_EVENTS = Plan(None, ())
_FIGURES = {
    Metric.SESSIONS: "sessions",
    Metric.BOUNCE_RATE: "bounce_rate",
    Metric.AVG_SESSION_DURATION: "avg_session_duration",
    Metric.AVG_TIME_ON_PAGE: "avg_time_on_page",
    Metric.VIEWS_PER_SESSION: "views_per_session",
}
_COUNTS = {
    Metric.EVENTS_COUNT: "count(*)",
    Metric.PAGEVIEWS: "count(*) FILTER (is_pageview)",
    Metric.UNIQUE_USERS: "count(DISTINCT person) FILTER (person <> '')",
    Metric.SUM: "coalesce(sum(number), 0)",
    Metric.AVG: "avg(number)",
    Metric.MIN: "min(number)",
    Metric.MAX: "max(number)",
}
Aliases = Mapping[str, str]


def answer_series(
    cursor: Cursor,
    lake: Lake,
    question: SeriesQuestion,
    aliases: Aliases,
    plan: Plan = _EVENTS,
    kept: Partials | None = None,
) -> SeriesAnswer:
    """One series, or one for each of the largest values of a dimension."""
    if question.dimension is not None:
        return _by_value(cursor, lake, question, question.dimension, aliases)
    metric = question.measure.metric
    if metric in _FIGURES:
        figures = OverviewQuestion(question.selection, question.buckets)
        overview = answer_overview(cursor, lake, figures, aliases, kept)
        return _whole(question, [getattr(one, _FIGURES[metric]) for one in overview.series], overview.version)
    if metric is Metric.NEW_USERS:
        return _new_people(cursor, lake, question, aliases)
    if plan.rollups is None:
        return _counted(cursor, lake, question, aliases)
    # Rollups first: events commit before them, so the edges are never behind the middle.
    selection = question.selection
    if metric is Metric.UNIQUE_USERS:
        stored = hourly_people(cursor, lake, selection, plan.rollups)
        accuracy = Accuracy(standard_error(STORED_LG_K))
        return _whole(question, *_merged_people(cursor, lake, question, stored, plan.events), accuracy, plan.name)
    is_pageview = metric is Metric.PAGEVIEWS
    hours = hourly_counts(cursor, lake, selection, plan.rollups, kept or Partials(), is_pageview=is_pageview)
    values: Sequence[int] = spread(question.buckets, hours)
    version = lake.version("events")
    for span in plan.events:
        edge = _counted(cursor, lake, _within(question, span), {})
        values = [a + int(b or 0) for a, b in zip(values, edge.series[0].data, strict=True)]
    return _whole(question, values, version, EXACT, plan.name)


def _whole(
    question: SeriesQuestion,
    values: Iterable[float | None],
    version: int,
    accuracy: Accuracy = EXACT,
    plan: str = "events",
) -> SeriesAnswer:
    return SeriesAnswer((Series(str(question.measure), tuple(values)),), accuracy, version, plan)


def _within(question: SeriesQuestion, span: TimeRange) -> SeriesQuestion:
    return replace(question, selection=replace(question.selection, span=span))


def _measure_sql(measure: Measure) -> str:
    if measure.metric is Metric.PERCENTILE:
        return f"quantile_cont(number, {measure.percent / 100})"
    return _COUNTS[measure.metric]


def _nothing(measure: Measure) -> float | None:
    """What a bucket without rows has: nothing sums to 0, and has no mean."""
    return None if measure.metric in OF_PROPERTIES - {Metric.SUM} else 0


def _chosen(rows: Rows, question: SeriesQuestion, more: str = "") -> str:
    columns = "timestamp, person, is_pageview"
    if question.measure.metric in OF_PROPERTIES:
        columns += f", {number_sql(question.measure.property, rows.parameters)} AS number"
    return rows.chosen(columns + more)


def _counted(cursor: Cursor, lake: Lake, question: SeriesQuestion, aliases: Aliases) -> SeriesAnswer:
    """Exact, from rows."""
    rows = Rows(lake, question.selection, aliases, sees_sessions=False)
    sql = _measure_sql(question.measure)
    found = measured(cursor, _chosen(rows, question), "chosen", [sql], question.buckets, rows.parameters)
    nothing = (_nothing(question.measure),)
    return _whole(question, (found.get(place, nothing)[0] for place in range(len(question.buckets))), rows.version)


def _by_value(cursor: Cursor, lake: Lake, question: SeriesQuestion, dimension: str, aliases: Aliases) -> SeriesAnswer:
    """The values that are largest over the whole range; events without the dimension are in no series."""
    rows = Rows(lake, question.selection, aliases, sees_sessions=False)
    bind = rows.parameters.bind
    sql = _measure_sql(question.measure)
    value = field_sql(dimension, rows.parameters)
    found = cursor.rows(
        f"WITH {_chosen(rows, question, f', {value} AS value')}, ranked AS ("
        f" SELECT value, row_number() OVER (ORDER BY {sql} DESC NULLS LAST, value) AS rank FROM chosen"
        f" WHERE value IS NOT NULL GROUP BY value), placed AS ("
        f" SELECT chosen.*, CASE WHEN rank <= {bind(question.limit)} THEN rank END AS place,"
        f" CASE WHEN rank <= {bind(question.limit)} THEN value END AS name FROM chosen JOIN ranked USING (value))"
        f" SELECT place, name, bucket, {sql} FROM {bucketed('placed', question.buckets, rows.parameters)}"
        " GROUP BY ALL ORDER BY place NULLS LAST",
        rows.parameters.values,
    )
    lines: dict[str | None, list[float | None]] = {}
    for _, name, bucket, number in found:
        line = lines.setdefault(name, [_nothing(question.measure)] * len(question.buckets))
        line[bucket] = number
    series = tuple(Series("other" if name is None else name, tuple(line), name is None) for name, line in lines.items())
    return SeriesAnswer(series, EXACT, rows.version, "events")


def _new_people(cursor: Cursor, lake: Lake, question: SeriesQuestion, aliases: Aliases) -> SeriesAnswer:
    """People by the bucket of the first event they ever had, if it is one of the selection."""
    selection = question.selection
    ever = Selection(selection.project, TimeRange(DAWN, selection.span.end), includes_bots=selection.includes_bots)
    rows = Rows(lake, ever, aliases, sees_sessions=False)
    wanted = filter_sql(selection.filters, rows.parameters)
    start = rows.parameters.bind(selection.span.start)
    ctes = (
        f"{rows.chosen(f'timestamp, person, {PLACE}, {wanted} AS is_wanted', also=_IS_SOMEBODY)}, firsts AS ("
        f"SELECT min(timestamp) AS timestamp FROM chosen GROUP BY person"
        f" HAVING arg_min(is_wanted, ({IN_TIME})) AND min(timestamp) >= {start})"
    )
    found = measured(cursor, ctes, "firsts", ["count(*)"], question.buckets, rows.parameters)
    return _whole(question, (found.get(place, (0,))[0] for place in range(len(question.buckets))), rows.version)


def _merged_people(
    cursor: Cursor, lake: Lake, question: SeriesQuestion, stored: Sequence[Row], edges: Sequence[TimeRange]
) -> tuple[list[int], int]:
    """The estimate of each bucket, and the version of events."""
    index = BucketIndex(question.buckets)
    unions: dict[int, PeopleUnion] = {}
    for hour, sketch in stored:
        unions.setdefault(index.of(hour), PeopleUnion()).merge(sketch)
    version = lake.version("events")
    for span in edges:
        rows = Rows(lake, replace(question.selection, span=span), {}, sees_sessions=False)
        found = cursor.rows(
            f"WITH {rows.chosen('timestamp, person', also=_IS_SOMEBODY)} SELECT bucket,"
            f" list(DISTINCT person) FROM {bucketed('chosen', question.buckets, rows.parameters)} GROUP BY bucket",
            rows.parameters.values,
        )
        for bucket, ids in found:
            people = People()
            people.add(ids)
            unions.setdefault(bucket, PeopleUnion()).merge(people.to_bytes())
    return [unions[at].estimate if at in unions else 0 for at in range(len(question.buckets))], version
