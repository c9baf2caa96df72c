"""Figures, sessions and breakdowns in plain Python over lists of rows, to hold queries against."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from schemas.figures import BreakdownRow, Figures, percentage
from schemas.instants import to_millis
from schemas.rows import Row
from schemas.windows import TimeRange

_MINUTE = 60_000
_DAY = 24 * 60 * _MINUTE
_PRESENCE = ("$engagement", "$heartbeat", "$heatmap")
Test = Callable[[Row], bool]


@dataclass(slots=True)
class Session:
    """The rows of one session in time."""

    rows: list[Row]

    @property
    def ordinary(self) -> list[Row]:
        return [row for row in self.rows if not row.is_system]

    @property
    def views(self) -> list[Row]:
        return [row for row in self.rows if row.is_pageview]

    @property
    def times(self) -> list[float]:
        found = [_property(row, "timeOnPage") for row in self.rows if row.is_system or row.is_pageview]
        return [float(value) for value in found if isinstance(value, int | float)]

    @property
    def duration(self) -> float:
        """Seconds."""
        return max((self.rows[-1].timestamp - self.rows[0].timestamp) / 1000, sum(self.times))

    @property
    def is_bounce(self) -> bool:
        cleared = any(_property(row, "isBounce") is False for row in self.rows if row.is_system or row.is_pageview)
        return len(self.views) == 1 and not cleared

    @property
    def entry(self) -> Row:
        """The first pageview, else the first ordinary event."""
        return (self.views or self.ordinary)[0]


def person_of(row: Row, aliases: Mapping[str, str]) -> str:
    """Who did it, under the name that all their ids share."""
    return aliases.get(row.distinct_id, row.distinct_id)


def chosen(rows: Iterable[Row], project: int, span: TimeRange, test: Test) -> list[Row]:
    """Ordinary events of people in the range that pass the test."""
    start, end = to_millis(span.start), to_millis(span.end)
    return [
        row
        for row in rows
        if row.project_id == project
        and not row.web.is_bot
        and not row.is_system
        and start <= row.timestamp < end
        and test(row)
    ]


def conversion(
    rows: Iterable[Row], project: int, span: TimeRange, test: Test, reaches: Test, aliases: Mapping[str, str]
) -> tuple[int, int, int]:
    """(completions, visitors, visitors who completed) of a goal that events reach."""
    wanted = chosen(rows, project, span, test)
    completing = [row for row in wanted if reaches(row)]
    people, converted = ({person_of(row, aliases) for row in some} - {""} for some in (wanted, completing))
    return len(completing), len(people), len(converted)


def sessions(
    rows: Iterable[Row], project: int, span: TimeRange, test: Test, aliases: Mapping[str, str] = {}
) -> list[Session]:
    """The sessions that began in the range and hold a chosen event."""
    wanted = {id(row) for row in chosen(rows, project, span, test)}
    tracks: dict[tuple[str, str], list[Session]] = {}
    heard: dict[tuple[str, str], tuple[int, int | None]] = {}  # the last row and the last ordinary one
    for row in sorted(rows, key=_in_time):
        person = person_of(row, aliases)
        if row.project_id != project or row.web.is_bot or (row.is_system and row.event not in _PRESENCE):
            continue
        if not row.session_id and not person:
            continue
        key = ("session", row.session_id) if row.session_id else ("person", person)
        track = tracks.setdefault(key, [])
        silence = _DAY if row.session_id else 30 * _MINUTE
        last, last_ordinary = heard.get(key, (None, None))
        is_alone = not row.is_system and (last_ordinary is None or row.timestamp - last_ordinary > _DAY)
        if last is None or row.timestamp - last > silence or is_alone:
            track.append(Session([]))
        heard[key] = (row.timestamp, last_ordinary if row.is_system else row.timestamp)
        measured = track[-1].rows
        if not measured or row.timestamp - measured[0].timestamp <= _DAY:
            measured.append(row)
    start, end = to_millis(span.start), to_millis(span.end)
    return [
        session
        for track in tracks.values()
        for session in track
        if any(id(row) in wanted for row in session.rows) and start <= session.ordinary[0].timestamp < end
    ]


def figures(
    rows: Iterable[Row], project: int, span: TimeRange, test: Test = lambda _: True, aliases: Mapping[str, str] = {}
) -> Figures:
    """All figures of a range."""
    rows = list(rows)
    events = chosen(rows, project, span, test)
    begun = sessions(rows, project, span, test, aliases)
    return _figures(events, begun, aliases)


def _figures(events: list[Row], begun: list[Session], aliases: Mapping[str, str]) -> Figures:
    people = {person_of(row, aliases) for row in events} - {""}
    times = [time for session in begun for time in session.times]
    gaps = [(session.views[-1].timestamp - session.views[0].timestamp) / 1000 for session in begun if session.views]
    steps = sum(len(session.views) - 1 for session in begun if session.views)
    views = sum(len(session.views) for session in begun)
    number = len(begun)
    return Figures(
        events=len(events),
        pageviews=sum(row.is_pageview for row in events),
        visitors=len(people),
        sessions=number,
        bounces=sum(session.is_bounce for session in begun),
        bounce_rate=percentage(sum(session.is_bounce for session in begun), number),
        avg_session_duration=round(sum(session.duration for session in begun) / number) if number else 0,
        avg_time_on_page=round(sum(times) / len(times) if times else sum(gaps) / steps if steps else 0),
        views_per_session=round(views / number, 2) if number else 0.0,
    )


def by_event(
    rows: Iterable[Row], project: int, span: TimeRange, value: Callable[[Row], str | None]
) -> dict[str, BreakdownRow]:
    """A breakdown by a value of the event."""
    rows = list(rows)
    events = chosen(rows, project, span, lambda _: True)
    begun = sessions(rows, project, span, lambda _: True)
    wanted = {id(row) for row in events}
    found = {}
    for name in {value(row) for row in events} - {None}:
        of_name = [
            session for session in begun if any(id(row) in wanted and value(row) == name for row in session.rows)
        ]
        found[str(name)] = _row(str(name), [row for row in events if value(row) == name], of_name)
    return found


def by_session(
    rows: Iterable[Row], project: int, span: TimeRange, value: Callable[[Session], str | None]
) -> dict[str, BreakdownRow]:
    """A breakdown by a value of the session."""
    begun = sessions(list(rows), project, span, lambda _: True)
    return {
        str(name): _row(
            str(name),
            [row for session in begun if value(session) == name for row in session.ordinary],
            [session for session in begun if value(session) == name],
            {
                next((row.distinct_id for row in session.rows if row.distinct_id), "")
                for session in begun
                if value(session) == name
            },
        )
        for name in {value(session) for session in begun} - {None}
    }


def _row(name: str, events: list[Row], begun: list[Session], people: set[str] | None = None) -> BreakdownRow:
    number = len(begun)
    return BreakdownRow(
        value=name,
        visitors=len((people or {row.distinct_id for row in events}) - {""}),
        pageviews=sum(row.is_pageview for row in events),
        events=len(events),
        sessions=number,
        bounce_rate=percentage(sum(session.is_bounce for session in begun), number),
        avg_session_duration=round(sum(session.duration for session in begun) / number) if number else 0,
    )


def _in_time(row: Row) -> tuple[int, int, int, int]:
    return row.timestamp, row.kafka_partition, row.kafka_offset, row.record_index


def _property(row: Row, name: str) -> object:
    return json.loads(row.properties).get(name)
