"""A lake goes on with a copy of its log: the positions of the old one are written down for the new one.

Only while no writer is alive. Without it a mirrored topic, or a cluster with a new identity, is another log, and
is read from its start.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from deltalake import DeltaTable

from storage.errors import Conflict, NotFound
from storage.lake.commit import FencedTable, Span
from storage.lake.deltalog import positions, transactions_of
from storage.lake.place import Place
from storage.lake.tables import TABLES, TableName, table_uri
from storage.maintenance.files import live_files
from storage.maintenance.merging import Condition, Resources, count_rows
from storage.maintenance.rebuilding import rebuild_all_rollups
from storage.maintenance.swap import commit, rewrite


@dataclass(frozen=True, slots=True)
class LastRead:
    """Where a partition of a log stands, and the record before that."""

    position: int
    timestamp: int  # unix ms; 0 where none was noted
    crc: int


def logs_of(lake: Place) -> dict[str, dict[int, LastRead]]:
    """Every log that the lake has read, by partition."""
    versions = transactions_of(lake / "events", DeltaTable(table_uri(lake, "events")).version())
    logs: dict[str, dict[int, LastRead]] = {}
    for app, position in positions(versions).items():
        log, _, partition = app.rpartition("/")
        last = LastRead(position, versions.get(f"{app}#last_ts", 0), versions.get(f"{app}#last_crc", 0))
        logs.setdefault(log, {})[int(partition)] = last
    return logs


def adopt(lake: Place, old: str, new: str, starts: Mapping[int, LastRead], now: datetime, resources: Resources) -> None:
    """Let partitions of `new` go on at `starts`, where `old` stands. Raises Conflict when `new` was read already."""
    if new in logs_of(lake):
        raise Conflict(f"the lake has read {new} already")
    stand = logs_of(lake).get(old)
    if stand is None:
        raise NotFound(f"the lake has not read {old}")
    rollups = transactions_of(lake / "rollups", DeltaTable(table_uri(lake, "rollups")).version())
    if any(rollups.get(f"{old}/{partition}") != last.position for partition, last in stand.items()):
        rebuild_all_rollups(lake, now)  # a worker of the old log would do it, and there is none any more
    _forget_ahead(lake, old, stand, now, resources)
    spans = {partition: Span(None, last.position) for partition, last in starts.items()}
    events = FencedTable(lake, "events", new)
    noted = {f"{events.app(p)}#last_ts": last.timestamp for p, last in starts.items()}
    noted |= {f"{events.app(p)}#last_crc": last.crc for p, last in starts.items()}
    note = f"adopt {new} in place of {old}"
    tables: list[tuple[TableName, Mapping[str, int]]] = [("events", noted), ("rollups", {})]
    for name, totals in tables:
        refused = FencedTable(lake, name, new).append(TABLES[name].schema.empty_table(), spans, totals, note)
        if refused is not None:
            raise Conflict(f"{name}: {refused.reason}; is a worker running?")


def _forget_ahead(lake: Place, old: str, stand: Mapping[int, LastRead], now: datetime, resources: Resources) -> None:
    """Rejected lines whose position was never reached: the new log brings them again, under its own name."""
    table = DeltaTable(table_uri(lake, "dead_letters"))
    apps = {f"{old}/{partition}": last.position for partition, last in stand.items()}
    ahead = {app: position for app, position in apps.items() if (table.transaction_version(app) or 0) > position}
    if not ahead:
        return
    places = " OR ".join(f"(kafka_partition = {p} AND kafka_offset >= {last.position})" for p, last in stand.items())
    which = Condition(f"(kafka_log = ? AND ({places}))", (old,))
    files = live_files(table)
    held = count_rows(lake / "dead_letters", [file.path for file in files], which)
    note = f"adopt: rejected lines of {old} ahead of its positions"
    if holding := [file for file in files if file.path in held]:
        rewrite(table, "dead_letters", holding, now, resources, which, note, lambda _: ahead)
    else:
        commit(table, [], [], now, 0, True, note, ahead)
