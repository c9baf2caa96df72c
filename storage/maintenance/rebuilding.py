"""Rollups of dates whose events were removed, computed again from the rows that are left."""

import logging
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

import pyarrow as pa
from deltalake import DeltaTable

from storage.lake.audit import drifted
from storage.lake.deltalog import positions, transactions_of
from storage.lake.place import Place
from storage.lake.rollups import partials
from storage.lake.snapshot import read, snapshot_of
from storage.lake.tables import ROLLUPS, table_uri
from storage.maintenance.files import DateFiles, live_files, wide
from storage.maintenance.swap import commit

log = logging.getLogger(__name__)

_COLUMNS = "project_id, event, distinct_id, timestamp, is_bot, is_system"
_HOUR = timedelta(hours=1)


def rebuild_rollups(lake: Place, now: datetime) -> list[date]:
    """Make the rollups count what events hold, where they do not; the dates that were rebuilt.

    Only while both tables stand at the same positions: partials that are appended meanwhile are of
    later offsets and stay. Needs no memory of what was removed, so a crash before it costs nothing.
    Raises SwapRefused.
    """
    rollups, events = DeltaTable(table_uri(lake, "rollups")), DeltaTable(table_uri(lake, "events"))
    found = [
        positions(transactions_of(lake / str(table.metadata().name), table.version())) for table in (rollups, events)
    ]
    if found[0] != found[1]:
        return []
    days = sorted(drifted(snapshot_of(events, "events"), snapshot_of(rollups, "rollups")))
    if days:
        log.warning("rollups differ from events", extra={"dates": [str(day) for day in days]})
        _recompute(lake, rollups, events, days, now, {})
    return days


def rebuild_all_rollups(lake: Place, now: datetime) -> int:
    """Make every rollup anew at the positions of events, which may have gone back; how many dates.

    Only while no writer is alive. Raises SwapRefused.
    """
    rollups, events = DeltaTable(table_uri(lake, "rollups")), DeltaTable(table_uri(lake, "events"))
    stood = positions(transactions_of(lake / "rollups", rollups.version()))
    stand = positions(transactions_of(lake / "events", events.version()))
    days = sorted({file.date for table in (rollups, events) for file in live_files(table)})
    _recompute(lake, rollups, events, days, now, dict.fromkeys(stood, 0) | stand)
    return len(days)


def _recompute(
    lake: Place, rollups: DeltaTable, events: DeltaTable, days: Sequence[date], now: datetime, extra: dict[str, int]
) -> None:
    writer = DateFiles(lake / "rollups", "rollups", pa.schema(rollups.schema().to_arrow()), "merged")
    writer.write(batch for day in days for batch in _rows_of(events, day))
    old = [file for file in live_files(rollups) if file.date in days]
    commit(rollups, old, writer.written, now, 0, True, f"rebuild rollups of {len(days)} dates", extra)


def _rows_of(events: DeltaTable, day: date) -> Iterator[pa.RecordBatch]:
    """Rollups of one date hour by hour, so that a large date does not stand in memory at once."""
    pinned = snapshot_of(events, "events", f"date = '{day}'")
    start = datetime(day.year, day.month, day.day)  # noqa: DTZ001  # cast to UTC by the query
    for hour in (start + n * _HOUR for n in range(24)):
        where = (
            "date = ? AND timestamp >= ?::TIMESTAMP AT TIME ZONE 'UTC' AND timestamp < ?::TIMESTAMP AT TIME ZONE 'UTC'"
        )
        rows = read(pinned, _COLUMNS, where, [day, hour, hour + _HOUR])
        yield from partials(rows).cast(wide(ROLLUPS)).to_batches()
