"""All figures of a selection and of its buckets, from its rows and sessions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias

from schemas.answers import EXACT
from schemas.figures import Figures, OverviewAnswer, OverviewQuestion, percentage
from schemas.filters import EVERYTHING
from schemas.selection import Selection
from schemas.windows import Bucket, TimeRange
from storage.query.buckets import measured
from storage.query.engine import Cursor, Row
from storage.query.lake import Lake
from storage.query.partials import FilesByDate, Partials
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
_NO_COUNTS, _NO_SESSIONS, _NO_BOTS = (0,) * len(_COUNTS), (0,) * len(_SESSIONS), (0,)
_NOTHING = (*_NO_COUNTS, *_NO_SESSIONS, *_NO_BOTS)
# Sessions are sorted in memory.
_LONGEST_RUN = timedelta(days=7)
Places: TypeAlias = dict[int | None, Row]


def answer_overview(
    cursor: Cursor,
    lake: Lake,
    question: OverviewQuestion,
    aliases: Mapping[str, str],
    kept: Partials | None = None,
) -> OverviewAnswer:
    """Exact figures; unique people of the whole are those of all buckets together, not their sum.

    `kept` remembers buckets. With filters it is not used: what a session holds then depends on the whole range.
    """
    if kept is not None and len(question.buckets) != 1 and question.selection.filters == EVERYTHING:
        return _from_parts(cursor, lake, question, aliases, kept)
    places: list[int | None] = [None, *range(len(question.buckets))]
    counts, sessions, bots, version = _measured(cursor, lake, question.selection, question.buckets, aliases)
    total, *series = (_figures(counts.get(place), sessions.get(place)) for place in places)
    return OverviewAnswer(total, tuple(series), bots[None][0] if None in bots else 0, EXACT, version)


def _measured(
    cursor: Cursor, lake: Lake, selection: Selection, buckets: Sequence[Bucket], aliases: Mapping[str, str]
) -> tuple[Places, Places, Places, int]:
    """Events, sessions and bots of the whole (None) and of each bucket; and the version."""
    rows = Rows(lake, selection, aliases, sees_sessions=False)
    counts = measured(cursor, rows.chosen(), "chosen", _COUNTS, buckets, rows.parameters)
    begun = Rows(lake, selection, aliases, sees_sessions=True)
    sessions = measured(cursor, begun.sessions(), "sessions", _SESSIONS, buckets, begun.parameters)
    all_rows = Rows(lake, replace(selection, includes_bots=True), aliases, sees_sessions=False)
    chosen = all_rows.chosen("timestamp", also="is_bot")
    return (
        counts,
        sessions,
        measured(cursor, chosen, "chosen", ["count(*)"], buckets, all_rows.parameters),
        rows.version,
    )


def _from_parts(
    cursor: Cursor, lake: Lake, question: OverviewQuestion, aliases: Mapping[str, str], kept: Partials
) -> OverviewAnswer:
    selection = question.selection
    rows = Rows(lake, selection, aliases, sees_sessions=True)
    files = FilesByDate(rows.files)
    buckets = question.buckets or files.days(selection.span)
    sources = [files.around(bucket) for bucket in buckets]
    keys = [(selection.project, selection.includes_bots, bucket) for bucket in buckets]
    parts = [kept.get(key, source, aliases) for key, source in zip(keys, sources, strict=True)]
    for run in _runs(buckets, [part is None for part in parts]):
        span = TimeRange(buckets[run.start].start, buckets[run.stop - 1].end)
        found = _measured(cursor, lake, replace(selection, span=span), buckets[run.start : run.stop], aliases)
        for place in run:
            at = place - run.start
            part = tuple(
                value or 0
                for measures, nothing in zip(found[:3], (_NO_COUNTS, _NO_SESSIONS, _NO_BOTS), strict=True)
                for value in measures.get(at, nothing)
            )
            kept.put(keys[place], sources[place], aliases, part)
            parts[place] = part
    known = [part for part in parts if part is not None]
    sums = [sum(values) for values in zip(_NOTHING, *known, strict=True)]
    sums[2] = _people(cursor, lake, selection, aliases)
    total, *series = (_figures(part[:3], part[3:11]) for part in (sums, *known))
    return OverviewAnswer(total, tuple(series) if question.buckets else (), sums[11], EXACT, rows.version)


def _people(cursor: Cursor, lake: Lake, selection: Selection, aliases: Mapping[str, str]) -> int:
    rows = Rows(lake, selection, aliases, sees_sessions=False)
    found = cursor.rows(f"WITH {rows.chosen('person')} SELECT {_COUNTS[2]} FROM chosen", rows.parameters.values)
    count: int = found[0][0]
    return count


def _runs(buckets: Sequence[Bucket], is_missing: Sequence[bool]) -> Iterator[range]:
    """Neighbouring buckets that are missing, together, but not so many that their rows are too many for memory."""
    begun: int | None = None
    for place, missing in enumerate(is_missing):
        if begun is not None and (not missing or buckets[place].end - buckets[begun].start > _LONGEST_RUN):
            yield range(begun, place)
            begun = None
        if missing and begun is None:
            begun = place
    if begun is not None:
        yield range(begun, len(buckets))


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
