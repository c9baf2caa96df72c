"""The lake by hand: what `streamgauge lake` shows and does."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from storage.errors import LakeBroken, NotFound
from storage.lake.deltalog import transactions_of
from storage.lake.durability import Barrier, restore_version
from storage.lake.place import Place, place_at, sizes
from storage.lake.tables import TableName, table_uri
from storage.maintenance.files import LiveFile, live_files
from storage.maintenance.maintainer import Maintainer
from storage.maintenance.policy import MergePolicy
from storage.maintenance.rebuilding import rebuild_all_rollups
from storage.maintenance.settings import MaintenanceSettings

# By hand nothing is waited for: two small files of a date are merged, and a date that is over is deduplicated.
_EAGER = MergePolicy(files_per_date=1, closed_after=timedelta(0), quiet=timedelta(0))


def open_table(lake: Place, name: TableName) -> DeltaTable:
    """The newest version. Raises NotFound where there is no lake yet, LakeBroken where it cannot be read."""
    missing = f"no lake at {lake}: `streamgauge up` makes one, --data-dir or STREAMGAUGE_LAKE_URI names another"
    if isinstance(lake, Path) and not (lake / name / "_delta_log").is_dir():
        raise NotFound(missing)
    try:
        return DeltaTable(table_uri(lake, name))
    except TableNotFoundError as error:
        raise NotFound(missing) from error
    except (DeltaError, OSError) as error:
        raise LakeBroken(f"cannot open the {name} table: {error}") from error


def table_files(lake: Place, name: TableName) -> list[LiveFile]:
    """The live files of a table, by date."""
    return sorted(live_files(open_table(lake, name)), key=lambda file: (file.date, file.path))


def table_history(lake: Place, name: TableName, limit: int) -> list[dict[str, Any]]:
    """The newest commits first: version, instant, operation, and what the committer said about it."""
    return [
        {
            "version": commit["version"],
            "at": datetime.fromtimestamp(commit["timestamp"] / 1000, UTC),
            "operation": commit["operation"],
            "note": commit.get("streamgauge", ""),
        }
        for commit in open_table(lake, name).history(limit)
    ]


def by_hand(settings: MaintenanceSettings) -> Maintainer:
    """A maintainer that merges whatever can be merged; safe beside a running one, which gives way or is given way."""
    directory = settings.directory
    lake = place_at(settings.lake_place)
    open_table(lake, "events")
    return Maintainer(lake, directory.create().run, _EAGER, settings.retention, settings.resources)


def restore(lake: Place, run: Path, version: int, now: datetime) -> int:
    """Bring events back to a version, with its positions and totals, and the rollups to the same; the new version.

    Only while no writer is alive: the caller holds the lock of `up`. What came after the version is
    read from the log again, as far as the log still has it. Raises NotFound, LakeBroken, SwapRefused.
    """
    head = open_table(lake, "events").version()
    if not 0 <= version <= head:
        raise NotFound(f"events has versions up to {head}, not {version}; see `streamgauge lake history`")
    missing = sizes([lake / "events" / file.path for file in _files_of(lake, version)]).count(None)
    if missing:
        raise NotFound(f"version {version} is too old: {missing} of its files were vacuumed already")
    table = lake / "events"
    restored = restore_version(
        table, version, dict.fromkeys(transactions_of(table, head), 0) | transactions_of(table, version)
    )
    rebuild_all_rollups(lake, now)
    names: tuple[TableName, ...] = ("events", "rollups")
    if isinstance(lake, Path):
        for name in names:
            Barrier(lake / name, run / "synced.json").sync(open_table(lake, name))
    return restored


def _files_of(lake: Place, version: int) -> list[LiveFile]:
    try:
        return live_files(DeltaTable(table_uri(lake, "events"), version=version))
    except DeltaError as error:
        raise NotFound(f"version {version} of events is not in its log any more: {error}") from error
