"""Sessions of closed dates, stored: made once their events rest, dropped when these change, and made anew.

What a date's sessions are depends on the events of that date and of the two beside it. Which files these were
is in the name of the stored file, so that nothing is remembered between runs. A date that is not stored is
computed by whoever asks.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from storage.errors import Unavailable
from storage.lake.place import Place, let_read, store_failure
from storage.lake.sessions import sessions_select
from storage.lake.snapshot import Snapshot, relation
from storage.lake.tables import SESSIONS, table_uri
from storage.maintenance.files import DateFiles, LiveFile, live_files, wide
from storage.maintenance.merging import Resources, configure
from storage.maintenance.policy import MergePolicy, is_over
from storage.maintenance.swap import SwapRefused, commit

_DAY = timedelta(days=1)
_BATCH_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Pending:
    """What is to be done: stored files whose events are others by now, and dates that can be stored."""

    stale: tuple[LiveFile, ...]
    ready: tuple[date, ...]


def pending(events: Iterable[LiveFile], stored: Sequence[LiveFile], now: datetime, policy: MergePolicy) -> Pending:
    """Pure. A date is ready when the next one is over too, and all files of the three are sorted for good."""
    by_date: dict[date, list[LiveFile]] = {}
    for file in events:
        by_date.setdefault(file.date, []).append(file)
    stale = tuple(file for file in stored if mark(_sources(by_date, file.date)) not in file.path)
    kept = {file.date for file in stored} - {file.date for file in stale}
    ready = tuple(
        day
        for day in sorted(by_date.keys() - kept)
        if is_over(day, now - _DAY, policy) and all(file.origin == "sorted" for file in _sources(by_date, day))
    )
    return Pending(stale, ready)


def mark(sources: Iterable[LiveFile]) -> str:
    """What the name of a stored file says about the files that it was made of."""
    return hashlib.sha256("\n".join(sorted(file.path for file in sources)).encode()).hexdigest()[:24]


def _sources(by_date: Mapping[date, Sequence[LiveFile]], day: date) -> list[LiveFile]:
    near = [date.fromordinal(number) for number in range(day.toordinal() - 1, day.toordinal() + 2) if _is_date(number)]
    return [file for beside in near for file in by_date.get(beside, ())]


def _is_date(number: int) -> bool:
    return date.min.toordinal() <= number <= date.max.toordinal()


def drop_stale(lake: Place, now: datetime, policy: MergePolicy) -> list[date]:
    """Take out the stored dates whose events changed; which. Raises SwapRefused."""
    sessions, events = _handles(lake)
    stale = pending(live_files(events), live_files(sessions), now, policy).stale
    if stale:
        removed = sum(file.rows for file in stale)
        commit(sessions, stale, [], now, removed, True, f"drop sessions of {len(stale)} files: their events changed")
    return sorted({file.date for file in stale})


def store_next(lake: Place, now: datetime, policy: MergePolicy, resources: Resources) -> date | None:
    """Store the oldest date that is ready, if any is; which. Raises SwapRefused, Unavailable."""
    sessions, events = _handles(lake)
    files = live_files(events)
    ready = pending(files, live_files(sessions), now, policy).ready
    if not ready:
        return None
    day = ready[0]
    by_date: dict[date, list[LiveFile]] = {}
    for file in files:
        by_date.setdefault(file.date, []).append(file)
    sources = _sources(by_date, day)
    schema = pa.schema(sessions.schema().to_arrow())
    writer = DateFiles(lake / "sessions", "sessions", schema, "sorted", label=f"{mark(sources)}-")
    paths = tuple(str(lake / "events" / file.path) for file in sources)
    with _sessions_of(Snapshot("events", events.version(), paths), day, schema, resources) as batches:
        rows = writer.write(batches)
    if not rows:
        writer.write_empty(day)
    try:
        commit(sessions, [], writer.written, now, 0, True, f"sessions of {day}")
    except SwapRefused:  # what was made may hold who was erased meanwhile
        writer.discard()
        raise
    return day


def _handles(lake: Place) -> tuple[DeltaTable, DeltaTable]:
    """The sessions first: an erasure between the two has then changed what the commit is fenced by."""
    return DeltaTable(table_uri(lake, "sessions")), DeltaTable(table_uri(lake, "events"))


@contextmanager
def _sessions_of(
    events: Snapshot, day: date, schema: pa.Schema, resources: Resources
) -> Iterator[Iterator[pa.RecordBatch]]:
    source, parameters = relation(events)
    try:
        with duckdb.connect(":memory:") as connection:
            configure(connection, resources)
            let_read(connection, events.files[:1])
            columns = ", ".join(f'"{name}"' for name in SESSIONS.names)
            select = sessions_select("event_rows", f"SELECT DATE '{day}' AS day")
            reader = connection.sql(
                f"WITH event_rows AS (SELECT * FROM {source}) SELECT {columns} FROM ({select})"
                " ORDER BY project_id, started_at, session_id",
                params=parameters,
            ).to_arrow_reader(_BATCH_ROWS)
            names = wide(schema)
            yield (pa.RecordBatch.from_arrays(batch.columns, schema=names) for batch in reader)
            del reader
    except duckdb.Error as error:
        raise Unavailable(f"cannot make the sessions of {day}: {store_failure(error) or error}") from error
