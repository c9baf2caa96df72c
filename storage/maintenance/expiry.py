"""Retention: whole dates leave the tables in fenced commits, every row counted."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from deltalake import DeltaTable

from storage.lake.audit import REJECTS_REMOVED
from storage.lake.place import Place
from storage.lake.snapshot import Snapshot, read
from storage.lake.tables import TableName, table_uri
from storage.maintenance.files import LiveFile, live_files
from storage.maintenance.policy import RetentionPolicy, oldest_kept_date
from storage.maintenance.swap import remove

# Rollups and sessions say nothing about dates that events no longer have.
_DATED: Final[tuple[TableName, ...]] = ("events", "rollups", "sessions")


def expire(lake: Place, now: datetime, policy: RetentionPolicy) -> dict[TableName, int]:
    """Drop what the policy does not keep; rows removed by table. Safe to repeat. Raises SwapRefused.

    The bytes are free on disk after the next vacuum, a day later: readers may still hold the files.
    """
    removed: dict[TableName, int] = {}
    everything = [file for name in _DATED for file in live_files(DeltaTable(table_uri(lake, name)))]
    if (oldest := oldest_kept_date(everything, now, policy)) is not None:
        for name in _DATED:
            table = DeltaTable(table_uri(lake, name))
            if old := [file for file in live_files(table) if file.date < oldest]:
                removed[name] = remove(table, old, now, f"retention: {name} before {oldest}")
    if count := _expire_dead_letters(lake, now, policy):
        removed["dead_letters"] = count
    return removed


def _expire_dead_letters(lake: Place, now: datetime, policy: RetentionPolicy) -> int:
    table = DeltaTable(table_uri(lake, "dead_letters"))
    oldest = now.astimezone(UTC).date() - timedelta(days=policy.dead_letter_days)
    old = [file for file in live_files(table) if file.date < oldest]
    if not old:
        return 0
    counted = (table.transaction_version(REJECTS_REMOVED) or 0) + _rejects(lake, table, old)
    return remove(table, old, now, f"retention: dead letters before {oldest}", {REJECTS_REMOVED: counted})


def _rejects(lake: Place, table: DeltaTable, files: Sequence[LiveFile]) -> int:
    """Rows that stand for a line; the others stand for offsets."""
    paths = tuple(str(lake / "dead_letters" / file.path) for file in files)
    rows = read(Snapshot("dead_letters", table.version(), paths), "count(*) AS n", "record_index >= 0", [])
    count: int = rows["n"][0].as_py()
    return count
