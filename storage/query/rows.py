"""The rows a question is about, as common table expressions that every kind of question builds on.

`chosen` are the ordinary events of a selection. `sessions` are those that began in its range and hold a
chosen event: by the client's session id, else by silence of a person, who is known under all aliases.
"""

from collections.abc import Mapping
from types import MappingProxyType

from schemas.selection import Selection
from schemas.windows import TimeRange
from storage.lake.sessions import (
    FIGURES,
    IS_SEEN,
    LONGEST_SILENCE,
    MARKS,
    PLACE,
    VERDICTS,
    first,
    numbered,
)
from storage.lake.snapshot import relation
from storage.query.filters import filter_sql
from storage.query.lake import Lake, within
from storage.query.parameters import Parameters


class Rows:
    """Statements over one version of the events table and one selection.

    Each method returns the text of CTEs; whoever joins them into a statement passes `parameters.values`.
    Every CTE asked for must be in the statement, once.
    """

    def __init__(self, lake: Lake, selection: Selection, aliases: Mapping[str, str], *, sees_sessions: bool) -> None:
        """`aliases` names the person of every distinct id that is not a person's own."""
        self.selection = selection
        self.parameters = Parameters()
        span = selection.span
        self._wide = TimeRange(span.start - LONGEST_SILENCE, span.end + LONGEST_SILENCE) if sees_sessions else span
        snapshot = lake.snapshot("events", within(selection.project, self._wide))
        self.version = snapshot.version
        self.files = snapshot.files
        self._snapshot = snapshot
        self._aliases = aliases

    def chosen(self, columns: str = "timestamp, event, person, is_pageview", *, also: str = "true") -> str:
        """`chosen`: the ordinary events of the selection; `columns` may use `person` and any column of the table."""
        bind = self.parameters.bind
        selection = self.selection
        return (
            f"chosen AS (SELECT {columns} FROM ({self.source()}) WHERE NOT is_system"
            f" AND timestamp >= {bind(selection.span.start)} AND timestamp < {bind(selection.span.end)}"
            f" AND ({filter_sql(selection.filters, self.parameters)}) AND ({also}))"
        )

    def sessions(self, attributes: Mapping[str, str] = MappingProxyType({})) -> str:
        """`seen` and `numbered`: rows, whether they are chosen, their `track` and `visit`; `sessions`: one row each.

        `attributes` are expressions over the table by name; a session has those of its first pageview, else event.
        """
        bind = self.parameters.bind
        span = self.selection.span
        start, end = bind(span.start), bind(span.end)
        extra = "".join(f", {expression} AS {name}" for name, expression in attributes.items())
        firsts = "".join(f", {first(name)}" for name in attributes)
        # Windows go by the hash of the track, 64 bits, which halves their time; groups go by the track.
        return f"""seen AS (
    SELECT timestamp, person, event, path, is_system, is_pageview, session_id, {PLACE}{extra},
        {MARKS},
        NOT is_system AND timestamp >= {start} AND timestamp < {end}
            AND ({filter_sql(self.selection.filters, self.parameters)}) AS is_chosen
    FROM ({self.source()}) WHERE {IS_SEEN}
),
{numbered("hash(track)")},
sessions AS (
    SELECT *, {VERDICTS} FROM (
        SELECT track, visit, {FIGURES}, count(time_on_page) AS times_spent,
            coalesce(epoch(max(timestamp) FILTER (is_pageview) - min(timestamp) FILTER (is_pageview)), 0) AS reading,
            bool_or(is_chosen) AS is_chosen{firsts}
        FROM numbered GROUP BY track, visit
    )
    WHERE is_chosen AND timestamp >= {start} AND timestamp < {end}
)"""

    def source(self) -> str:
        """All rows of the project in the wide range, system events too, with their `person`."""
        bind = self.parameters.bind
        table = self._table()
        wide = self._wide
        person, join = "distinct_id", ""
        if self._aliases:
            person = "coalesce(known.person, distinct_id)"
            join = (
                f" LEFT JOIN (SELECT unnest({bind(list(self._aliases))}) AS alias,"
                f" unnest({bind(list(self._aliases.values()))}) AS person) AS known ON distinct_id = known.alias"
            )
        bots = "" if self.selection.includes_bots else " AND NOT is_bot"
        return (
            f"SELECT event_rows.*, {person} AS person FROM {table} AS event_rows{join}"
            f" WHERE project_id = {bind(self.selection.project)}"
            f" AND date >= {bind(wide.start.date())} AND date <= {bind(wide.end.date())}"
            f" AND timestamp >= {bind(wide.start)} AND timestamp < {bind(wide.end)}{bots}"
        )

    def _table(self) -> str:
        """A FROM item over the pinned files."""
        source, values = relation(self._snapshot)
        for value in values:
            source = source.replace("?", self.parameters.bind(value), 1)
        return source
