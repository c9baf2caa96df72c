"""All figures of a selection and of its buckets, from its rows and sessions."""

from collections.abc import Mapping, Sequence

from schemas.answers import EXACT
from schemas.figures import Figures, OverviewAnswer, OverviewQuestion, percentage
from storage.query.bots import count_bots
from storage.query.buckets import measured
from storage.query.engine import Cursor
from storage.query.lake import Lake
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
    counts = measured(cursor, rows.chosen(), "chosen", _COUNTS, question.buckets, rows.parameters)
    begun = Rows(lake, question.selection, aliases, sees_sessions=True)
    sessions = measured(cursor, begun.sessions(), "sessions", _SESSIONS, question.buckets, begun.parameters)
    places: list[int | None] = [None, *range(len(question.buckets))]
    total, *series = (_figures(counts.get(place), sessions.get(place)) for place in places)
    return OverviewAnswer(total, tuple(series), count_bots(cursor, lake, question.selection), EXACT, rows.version)


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
        bounces=int(bounces),
        bounce_rate=percentage(bounces, number),
        avg_session_duration=round(duration / number) if number else 0,
        avg_time_on_page=round(on_page),
        views_per_session=round(views / number, 2) if number else 0.0,
    )
