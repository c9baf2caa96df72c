"""The maintenance of one lake: each task looks, does what is due in fenced steps, and brings it to disk."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from storage import metrics
from storage.errors import LakeBroken
from storage.lake.audit import Depth, audit
from storage.lake.durability import Barrier
from storage.lake.pins import read_pins
from storage.lake.place import Place
from storage.lake.tables import TABLES, TableName, table_uri
from storage.maintenance.erasure import Receipt, erase, forget
from storage.maintenance.expiry import expire
from storage.maintenance.files import live_files
from storage.maintenance.merging import Resources
from storage.maintenance.policy import Merge, MergePolicy, RetentionPolicy, next_merge
from storage.maintenance.rebuilding import rebuild_rollups
from storage.maintenance.schedule import PeriodicTask
from storage.maintenance.sessions import drop_stale, store_next
from storage.maintenance.swap import SwapRefused, merge
from storage.maintenance.vacuum import vacuum

log = logging.getLogger(__name__)

# Four handles are opened each time; a flush makes a file each 5 s at most.
LOOK_EVERY = timedelta(seconds=5)
# What a worker heals at its start must not stand as an alarm until the next full audit.
RECHECK_EVERY = timedelta(minutes=1)
DAILY = timedelta(days=1)
WEEKLY = timedelta(days=7)
# A swap that meets removals or another maintainer is planned again; a writer every few ms must not hold it for ever.
_TRIES = 5
_T = TypeVar("_T")


class Maintainer:
    """One at a time: nothing here runs beside itself, and another process is held off by the fence.

    After an audit that shows rows doubled or lost nothing is rewritten or removed until one is clean.
    """

    def __init__(
        self,
        lake: Place,
        run_dir: Path,
        merging: MergePolicy,
        retention: RetentionPolicy,
        resources: Resources,
        is_stopping: Callable[[], bool] = lambda: False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.lake = lake
        self.is_halted = False
        self._is_in_doubt = False
        self._merging = merging
        self._retention = retention
        self._resources = resources
        self._is_stopping = is_stopping
        self._clock = clock
        self._barriers: dict[TableName, Barrier] = {}
        if isinstance(lake, Path):  # a store keeps what it took
            self._barriers = {name: Barrier(lake / name, run_dir / "synced.json") for name in TABLES}

    def tasks(self, audit_every: timedelta) -> list[PeriodicTask]:
        """Everything this process does in turn; publication has a loop of its own."""
        return [
            PeriodicTask("audit", audit_every, lambda _: self._audit("counts")),
            PeriodicTask("recheck", RECHECK_EVERY, self.recheck),
            PeriodicTask("merge", LOOK_EVERY, self.merge_due),
            PeriodicTask("sessions", LOOK_EVERY, self.store_sessions),
            PeriodicTask("expire", timedelta(hours=1), self.expire_due),
            PeriodicTask("rebuild", audit_every, self.rebuild_due),
            PeriodicTask("vacuum", DAILY, self.vacuum_all, is_remembered=True),
            PeriodicTask("scan", WEEKLY, lambda _: self._audit("scan"), is_remembered=True),
        ]

    def recheck(self, now: datetime) -> None:
        """Audit again soon while the last one failed."""
        if self._is_in_doubt:
            self._audit("counts")

    def sync_all(self) -> None:
        """Bring what is there to disk, a table that was just created too. Raises NotDurable."""
        for name in TABLES:
            self._sync(name)

    def merge_due(self, now: datetime) -> None:
        """Merge until nothing is due, one swap at a time."""
        for name in TABLES:
            has_removed = False
            while not self.is_halted and not self._is_stopping():
                table = self._open(name)
                files = live_files(table)
                metrics.gauge("streamgauge_live_files", len(files), table=name)
                if (plan := next_merge(files, now, self._merging)) is None:
                    break
                if (removed := self._swap(table, name, plan)) is None:
                    break
                has_removed |= removed > 0
            if has_removed:
                self.rebuild_due(now)

    def store_sessions(self, now: datetime) -> None:
        """Store the sessions of dates that rest, one date at a time, and drop those whose events changed."""
        if self.is_halted:
            return
        if days := self._insist(lambda: drop_stale(self.lake, self._clock(), self._merging)):
            self._committed("sessions")
            log.info("dropped sessions", extra={"dates": [str(day) for day in days]})
        while not self._is_stopping():
            with _timed("sessions"):
                day = self._insist(lambda: store_next(self.lake, now, self._merging, self._resources))
            if day is None:
                break
            self._sync("sessions")
            log.info("stored sessions", extra={"date": str(day)})

    def _swap(self, table: DeltaTable, name: TableName, plan: Merge) -> int | None:
        """Rows that one swap removed, or None when it was refused: look again at the next turn."""
        with _timed("final_merge" if plan.is_final else "merge"):
            try:
                done = merge(
                    table,
                    name,
                    plan.files,
                    self._clock(),
                    self._resources,
                    plan.is_final,
                    is_stopping=self._is_stopping,
                )
            except SwapRefused as error:
                log.info("a merge gave way", extra={"table": name, "reason": str(error)})
                return None
        self._committed(name)
        log.info(
            "merged",
            extra={
                "table": name,
                "dates": len(plan.dates),
                "files_in": done.files_in,
                "files_out": done.files_out,
                "rows_in": done.rows_in,
                "rows_out": done.rows_out,
            },
        )
        return done.rows_in - done.rows_out if name == "events" else 0

    def rebuild_due(self, now: datetime) -> None:
        """Rollups that no longer count what events hold are computed again."""
        if self.is_halted:
            return
        with _timed("rebuild"):
            if days := self._insist(lambda: rebuild_rollups(self.lake, self._clock())):
                self._committed("rollups")
                log.info("rebuilt rollups", extra={"dates": [str(day) for day in days]})

    def expire_due(self, now: datetime) -> None:
        """Drop the dates that retention does not keep."""
        if self.is_halted:
            return
        with _timed("expire"):
            removed = self._insist(lambda: expire(self.lake, now, self._retention)) or {}
        for name, rows in removed.items():
            self._committed(name)
            log.info("retention removed rows", extra={"table": name, "rows": rows})

    def vacuum_all(self, now: datetime) -> int:
        """Free the disk from what no version within the retention names; how many files."""
        total = 0
        for name in TABLES:
            if self.is_halted or self._is_stopping():
                break
            with _timed("vacuum"):
                files, leftovers = vacuum(self.lake / name, now, self._pinned if name == "events" else frozenset)
            self._sync(name)
            log.info("vacuumed", extra={"table": name, "files": files, "leftovers": leftovers})
            total += files + leftovers
        return total

    def _pinned(self) -> frozenset[str]:
        return frozenset(file.path for pin in read_pins(self.lake) for file in pin.files)

    def erase(self, project: int, distinct_id: str | None, now: datetime) -> Receipt:
        """Erase what was received of a person, or of the whole project, up to now.

        Raises Unavailable when it must be repeated.
        """
        with _timed("erasure"):
            receipt = erase(self.lake, project, distinct_id, now, self._resources, self._sync)
        self._audit("totals")
        log.info("erased", extra={"project": project, "rows": sum(t.rows_before for t in receipt.tables)})
        return receipt

    def forget(self, project: int, before: datetime, now: datetime) -> int:
        """Take out what a project does not keep any more; how many rows. Raises Unavailable: repeat it."""
        with _timed("forget"):
            removed = forget(self.lake, project, before, now, self._resources, self._sync)
        if removed:
            self._audit("totals")
            log.info("a project's retention removed rows", extra={"project": project, "rows": removed})
        return removed

    def _insist(self, step: Callable[[], _T]) -> _T | None:
        """Repeat a step that was refused, from fresh handles; None when others always came first."""
        for _ in range(_TRIES):
            try:
                return step()
            except SwapRefused as error:
                log.info("a step gave way", extra={"reason": str(error)})
        return None

    def _committed(self, name: TableName) -> None:
        self._sync(name)
        self._audit("totals")

    def _sync(self, name: TableName) -> None:
        if barrier := self._barriers.get(name):
            barrier.sync(self._open(name))

    def _open(self, name: TableName) -> DeltaTable:
        try:
            return DeltaTable(table_uri(self.lake, name))
        except DeltaError as error:
            raise LakeBroken(f"cannot open the {name} table; `streamgauge up` creates it ({error})") from error

    def _audit(self, depth: Depth) -> None:
        with _timed(f"audit_{depth}"):
            result = audit(self.lake, depth)
        if depth != "totals" or not result.is_ok:  # totals alone cannot clear what a full audit found
            metrics.gauge("streamgauge_audit_mismatch", 0 if result.is_ok else 1)
            self._is_in_doubt = not result.is_ok
        if not result.is_ok:
            metrics.count("streamgauge_alarms_total", kind="audit")
            log.error("the lake does not add up", extra={"failures": result.failures})
        if result.must_stop != self.is_halted and (result.must_stop or depth != "totals"):
            self.is_halted = result.must_stop
            log.warning("maintenance %s", "stopped until the lake adds up" if self.is_halted else "goes on")


@contextmanager
def _timed(task: str) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        metrics.observe("streamgauge_maintenance_seconds", time.monotonic() - started, task=task)
