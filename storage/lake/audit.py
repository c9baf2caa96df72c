"""Do the numbers add up? Totals ride in the commits, so most of it is answered without reading a row.

Per partition: lines = rows + rejects + duplicates + erased. Over all: live rows = rows - removed,
dead letters = rejects, rollups stand where events stand and count what events hold.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from storage.errors import LakeBroken
from storage.lake.deltalog import positions, transactions_of
from storage.lake.place import Place, sizes
from storage.lake.snapshot import Snapshot, read, snapshot_of
from storage.lake.tables import TableName, table_uri

REMOVED = "maintain#removed"  # rows that maintenance took out of a table, since the beginning
REJECTS_REMOVED = "maintain#rejects"  # those of them that stood for lines, in dead_letters

# totals: the log of events only; counts: columns of two tables; scan: every row's key, for a weekly or manual run.
Depth = Literal["totals", "counts", "scan"]

# A flush is between its events and its rollups for some 10 ms of every 5 s, so this is never used up by chance.
_TRIES = 20
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Check:
    """One equation, and whether it holds."""

    name: str
    is_ok: bool
    detail: str
    stops_maintenance: bool = False  # rows doubled or lost: rewriting files would hide the cause


@dataclass(frozen=True, slots=True)
class Audit:
    """All equations that were looked at."""

    checks: tuple[Check, ...]

    @property
    def is_ok(self) -> bool:
        return all(check.is_ok for check in self.checks)

    @property
    def must_stop(self) -> bool:
        """Whether maintenance must not go on before a person has looked."""
        return any(check.stops_maintenance and not check.is_ok for check in self.checks)

    @property
    def lines(self) -> list[str]:
        return [f"{'ok  ' if check.is_ok else 'FAIL'} {check.name}: {check.detail}" for check in self.checks]

    @property
    def failures(self) -> list[str]:
        return [f"{check.name}: {check.detail}" for check in self.checks if not check.is_ok]


@dataclass(frozen=True, slots=True)
class _Pinned:
    """One table at one version, with every application transaction of it."""

    table: DeltaTable
    name: TableName
    versions: dict[str, int]

    @classmethod
    def newest(cls, lake: Place, name: TableName) -> "_Pinned":
        try:
            table = DeltaTable(table_uri(lake, name))
        except DeltaError as error:
            raise LakeBroken(f"cannot open the {name} table: {error}") from error
        return cls(table, name, transactions_of(lake / name, table.version()))

    @property
    def snapshot(self) -> Snapshot:
        return snapshot_of(self.table, self.name)

    @property
    def positions(self) -> dict[str, int]:
        return positions(self.versions)

    def total(self, app: str, kind: str) -> int:
        return self.versions.get(f"{app}#{kind}", 0)

    @property
    def rows(self) -> int:
        counted: int | None = pc.sum(pa.table(self.table.get_add_actions())["num_records"]).as_py()
        return counted or 0


@dataclass(frozen=True, slots=True)
class _State:
    """The tables at versions that belong together, as far as they could be had."""

    events: _Pinned
    rollups: _Pinned
    dead_letters: _Pinned

    @property
    def is_settled(self) -> bool:
        """No flush is between two of its commits."""
        return self.rollups.positions == self.events.positions and not self.is_rejecting

    @property
    def is_rejecting(self) -> bool:
        """Dead letters are written before the position passes them."""
        events = self.events.positions
        return any(position > events.get(app, 0) for app, position in self.dead_letters.positions.items())


def audit(lake: Place, depth: Depth = "counts") -> Audit:
    """Look at the newest versions, beside their writers. Raises LakeBroken."""
    if depth == "totals":
        return Audit(tuple(_totals(_Pinned.newest(lake, "events"))))
    state = _settled_state(lake)
    checks = [*_totals(state.events), _positions(state), *(files := list(_files(state, lake)))]
    if all(check.is_ok for check in files):  # else nothing can be read
        checks += [_dead_letters(state), _rollups(state), *([_unique(state)] if depth == "scan" else [])]
    return Audit(tuple(checks))


def _settled_state(lake: Place) -> _State:
    for turn in range(_TRIES):
        if turn:
            time.sleep(_PAUSE_SECONDS)
        dead_letters = _Pinned.newest(lake, "dead_letters")
        events = _Pinned.newest(lake, "events")
        state = _State(events, _Pinned.newest(lake, "rollups"), dead_letters)
        # Dead letters were read first: what events say by then of a later flush would be missing there.
        unmoved = _Pinned.newest(lake, "dead_letters").table.version() == dead_letters.table.version()
        if unmoved and state.is_settled:
            break
    return state


def _totals(events: _Pinned) -> Iterator[Check]:
    for app, position in sorted(events.positions.items()):
        kinds = ("lines", "rows", "rejects", "duplicates", "erased", "gaps")
        lines, rows, rejects, duplicates, erased, gaps = (events.total(app, kind) for kind in kinds)
        yield Check(
            f"lines of {app}",
            lines == rows + rejects + duplicates + erased,
            f"{lines} lines = {rows} rows + {rejects} rejects + {duplicates} duplicates + {erased} erased;"
            f" next offset {position}, {gaps} lost to gaps",
        )
    written = sum(events.total(app, "rows") for app in events.positions)
    removed = events.versions.get(REMOVED, 0)
    yield Check(
        "rows of events",
        events.rows == written - removed,
        f"{events.rows} live = {written} written - {removed} removed",
        stops_maintenance=True,
    )


def _positions(state: _State) -> Check:
    events, rollups = state.events.positions, state.rollups.positions
    behind = ", ".join(
        f"{app}: rollups at {rollups.get(app)}, events at {events.get(app)}"
        for app in sorted({*events, *rollups})
        if rollups.get(app) != events.get(app)
    )
    return Check("positions of rollups", not behind, behind or "equal to those of events")


def _files(state: _State, lake: Place) -> Iterator[Check]:
    for pinned in (state.events, state.rollups, state.dead_letters):
        actions = pa.table(pinned.table.get_add_actions())
        paths = actions["path"].to_pylist()
        found = sizes([lake / pinned.name / path for path in paths])
        named = actions["size_bytes"].to_pylist()
        missing = [path for path, has, size in zip(paths, found, named, strict=True) if has != size]
        yield Check(
            f"files of {pinned.name}",
            not missing,
            f"missing or cut: {', '.join(missing[:5])}" if missing else f"{len(actions)} are there with their size",
            stops_maintenance=True,
        )


def _dead_letters(state: _State) -> Check:
    name = "dead letters"
    if state.is_rejecting:
        return Check(name, True, "not compared: a flush is under way")
    found = _grouped(state.dead_letters.snapshot, "kafka_partition", "count(*)", "record_index >= 0")
    removed = state.dead_letters.versions.get(REJECTS_REMOVED, 0)
    expected: dict[int, int] = {}
    for app in state.events.positions:
        partition = int(app.rsplit("/", 1)[1])
        expected[partition] = expected.get(partition, 0) + state.events.total(app, "rejects")
    held, rejects = sum(found.values()), sum(expected.values())
    odd = [p for p in sorted({*found, *expected}) if found.get(p, 0) != expected.get(p, 0)] if not removed else []
    where = f"; partitions {odd} differ" if odd else ""
    return Check(
        name,
        held == rejects - removed and not odd,
        f"{held} rows = {rejects} rejects - {removed} removed{where}",
    )


def _rollups(state: _State) -> Check:
    name = "counts of rollups"
    if state.rollups.positions != state.events.positions:
        return Check(name, True, "not compared: rollups and events stand at different positions")
    drift = drifted(state.events.snapshot, state.rollups.snapshot)
    odd = ", ".join(f"{day}: {rollups} for {events} events" for day, (events, rollups) in sorted(drift.items()))
    return Check(name, not drift, odd or "equal to the countable rows of events, date by date")


def drifted(events: Snapshot, rollups: Snapshot) -> dict[date, tuple[int, int]]:
    """Dates whose rollups do not count the rows of events, as (events, rollups); both at equal positions."""
    counted = _grouped(events, "date", "count(*)", "NOT is_bot AND NOT is_system")
    stored = _grouped(rollups, "date", 'sum("count")::BIGINT', "dimension = ''")
    pairs = {day: (counted.get(day, 0), stored.get(day, 0)) for day in {*counted, *stored}}
    return {day: pair for day, pair in pairs.items() if pair[0] != pair[1]}


def _grouped(snapshot: Snapshot, key: str, measure: str, where: str) -> dict[Any, int]:
    rows = read(snapshot, f"{key} AS key, {measure} AS n", f"{where} GROUP BY ALL", [])
    return dict(zip(rows["key"].to_pylist(), rows["n"].to_pylist(), strict=True))


def _unique(state: _State) -> Check:
    select = "count(*) AS n, count(DISTINCT (kafka_log, kafka_partition, kafka_offset, record_index)) AS unique_n"
    row = read(state.events.snapshot, select, "true", []).to_pylist()[0]
    return Check(
        "keys of events", row["n"] == row["unique_n"], f"{row['n']} rows, {row['unique_n']} places in the log", True
    )
