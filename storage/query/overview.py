"""All figures of a selection and of its buckets, from its rows and sessions."""

from collections.abc import Mapping, Sequence

from schemas.answers import EXACT
from schemas.figures import Figures, OverviewAnswer, OverviewQuestion, percentage
from schemas.instants import to_millis
from schemas.windows import Bucket
from storage.query.bots import count_bots
from storage.query.buckets import BucketIndex
from storage.query.engine import Cursor, Row
from storage.query.lake import Lake
from storage.query.parameters import Parameters
from storage.query.rows import Rows

_COUNTS = (
    "count(*)",
    "count(*) FILTER (is_pageview)",
    "count(DISTINCT person) FILTER (person <> '')",
)
_SESSIONS = (
    "count(*)",
    "count(*) FILTER (is_bounce)",
    "sum(duration)",
    "sum(pageviews)",
    "sum(time_spent)",
    "sum(times_spent)",
    "sum(reading)",
    "sum(greatest(pageviews - 1, 0))",
)


def answer_overview(
    cursor: Cursor, lake: Lake, question: OverviewQuestion, aliases: Mapping[str, str]
) -> OverviewAnswer:
    """Exact figures; unique people of the whole are those of all buckets together, not their sum."""
    rows = Rows(lake, question.selection, aliases, sees_sessions=True)
    counts = _grouped(cursor, rows.chosen(), "chosen", _COUNTS, question.buckets, rows.parameters)
    begun = Rows(lake, question.selection, aliases, sees_sessions=True)
    sessions = _grouped(cursor, begun.sessions(), "sessions", _SESSIONS, question.buckets, begun.parameters)
    places: list[int | None] = [None, *range(len(question.buckets))]
    total, *series = (_figures(counts.get(place), sessions.get(place)) for place in places)
    return OverviewAnswer(total, tuple(series), count_bots(cursor, lake, question.selection), EXACT, rows.version)


def _grouped(
    cursor: Cursor,
    ctes: str,
    source: str,
    measures: Sequence[str],
    buckets: Sequence[Bucket],
    parameters: Parameters,
) -> dict[int | None, Row]:
    """Measures of the whole (None) and of each bucket that has rows."""
    if not buckets:
        found = cursor.rows(f"WITH {ctes} SELECT {', '.join(measures)} FROM {source}", parameters.values)
        return {None: found[0]}
    starts = parameters.bind([bucket.start for bucket in buckets])
    found = cursor.rows(
        f"WITH {ctes} SELECT epoch_ms(start), {', '.join(measures)} FROM {source}"
        f" ASOF JOIN (SELECT unnest({starts}::TIMESTAMPTZ[]) AS start) AS bucket ON {source}.timestamp >= bucket.start"
        " GROUP BY GROUPING SETS ((start), ())",
        parameters.values,
    )
    index = BucketIndex(buckets)
    first = to_millis(buckets[0].start)
    return {None if row[0] is None else index.of(max(row[0], first)): row[1:] for row in found}


def _figures(counts: Sequence[int] | None, sessions: Sequence[float | None] | None) -> Figures:
    events, pageviews, visitors = counts or (0, 0, 0)
    number, bounces, duration, views, spent, times, reading, gaps = (part or 0 for part in sessions or (0,) * 8)
    # What clients measured is better than the gaps between their pages, which miss every last page.
    on_page = spent / times if times else reading / gaps if gaps else 0
    return Figures(
        events=events,
        pageviews=pageviews,
        visitors=visitors,
        sessions=int(number),
        bounce_rate=percentage(bounces, number),
        avg_session_duration=round(duration / number) if number else 0,
        avg_time_on_page=round(on_page),
        views_per_session=round(views / number, 2) if number else 0.0,
    )
