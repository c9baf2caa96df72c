"""Erasure of one person of a project, or of a whole project: nothing is left in the lake, nothing brings it back.

E1 list      her hash and this instant go into the events table's properties: the fence of every commit of rows
E2 rewrite   files that hold her are written anew without her, one date a swap
E3 sync      what replaces them is on disk
E4 delete    files that hold her and that the newest version does not name go at once
E5 rebuild   rollups of her dates
E6 verify    read back from fresh handles

Each step looks at what is there, so that a repeat finishes what was interrupted.
"""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final, TypeVar

from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import DeltaError

from storage.errors import Unavailable
from storage.lake.audit import REJECTS_REMOVED
from storage.lake.erased import as_properties, erased_of
from storage.lake.place import Place
from storage.lake.tables import TableName, table_uri, transactions
from storage.maintenance.files import live_files
from storage.maintenance.merging import Condition, Resources, count_rows
from storage.maintenance.rebuilding import rebuild_rollups
from storage.maintenance.swap import MAINTAIN, Swapped, SwapRefused, commit, rewrite

log = logging.getLogger(__name__)

_TABLES: Final[tuple[TableName, ...]] = ("events", "sessions", "dead_letters")
# Writers in between refuse a swap now and then; this many times in a row is no chance any more. The pause is of no
# fixed length, so that nobody who also takes turns stays in step.
_TRIES = 20
_PAUSE_SECONDS = 0.25

_NOTE = "erasure"
# A rejected line whose person can be told; the others end with the retention of dead letters.
_LETTER_TEXT = "TRY(decode(raw))"
_LETTER_PERSON = (
    f"CASE WHEN json_valid({_LETTER_TEXT}) THEN"
    f" coalesce(nullif({_LETTER_TEXT} ->> '$.userId', ''), {_LETTER_TEXT} ->> '$.anonymousId') END"
)
_LETTER_PROJECT = f"CASE WHEN json_valid({_LETTER_TEXT}) THEN try_cast({_LETTER_TEXT} ->> '$.projectId' AS BIGINT) END"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class TableReceipt:
    """What was done to one table, and the version that is without the person."""

    table: TableName
    files: int
    rows_before: int
    rows_after: int
    version: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """An erasure that was read back; the id is not in it."""

    project: int
    erased_at: datetime
    tables: tuple[TableReceipt, ...]
    files_deleted: int
    rebuilt: tuple[date, ...]


def erase(
    lake: Place,
    project: int,
    distinct_id: str | None,
    now: datetime,
    resources: Resources,
    synced: Callable[[TableName], None],
) -> Receipt:
    """Erase what was received of a person up to now. Blocking; safe to repeat, beside writers and readers.

    Without an id it is everybody and everything of the project. `synced` brings a table to disk.
    Raises Unavailable when others kept it from its turn: repeat it.
    """
    if distinct_id == "":
        raise ValueError("an empty id is nobody's: events without an id cannot be told apart")
    at = int(now.timestamp() * 1000)
    _insist(lambda: _list(lake, project, distinct_id, at))
    synced("events")
    who = {name: _condition(name, project, distinct_id, at) for name in _TABLES}
    receipts = [_rewritten(lake, "events", who["events"], now, resources)]
    # Whoever makes sessions of what events held before this must be refused, where none are stored yet too.
    _insist(lambda: commit(DeltaTable(table_uri(lake, "sessions")), [], [], now, 0, False, _NOTE))
    receipts += [_rewritten(lake, name, who[name], now, resources) for name in _TABLES[1:]]
    for name in _TABLES:
        synced(name)
    deleted = sum(_delete_old(lake, name, who[name]) for name in _TABLES)
    rebuilt = _rebuilt(lake, now) if receipts[0].rows_before else []
    synced("rollups")
    for name in _TABLES:
        paths = [file.path for file in live_files(DeltaTable(table_uri(lake, name)))]
        if count_rows(lake / name, paths, who[name]):  # a line of hers that was being rejected
            raise Unavailable(f"{name} got rows of the person meanwhile; repeat the erasure")
    return Receipt(project, datetime.fromtimestamp(at / 1000, UTC), tuple(receipts), deleted, tuple(rebuilt))


def forget(
    lake: Place,
    project: int,
    before: datetime,
    now: datetime,
    resources: Resources,
    synced: Callable[[TableName], None],
) -> int:
    """Take out a project's events of before an instant, since it keeps them no longer; how many. Safe to repeat.

    Stored sessions follow, since their events changed; the old files go with vacuum. Raises Unavailable: repeat it.
    """
    # In this form row groups that are young enough are passed over by their statistics.
    old = Condition("(project_id = ? AND timestamp < CAST(? AS TIMESTAMPTZ))", (project, before.isoformat()))
    removed = _rewritten(lake, "events", old, now, resources, f"retention of project {project}").rows_before
    if removed:
        synced("events")
        _rebuilt(lake, now)
        synced("rollups")
    return removed


def _condition(name: TableName, project: int, distinct_id: str | None, at: int) -> Condition:
    is_letter = name == "dead_letters"
    parts = [f"coalesce(project_id, {_LETTER_PROJECT}) = ?" if is_letter else "project_id = ?"]
    values: list[int | str] = [project]
    if distinct_id is not None:
        parts.append(f"coalesce(distinct_id, {_LETTER_PERSON}) = ?" if is_letter else "distinct_id = ?")
        values.append(distinct_id)
    if name != "sessions":
        parts.append("epoch_ms(received_at) <= ?")
        values.append(at)
    return Condition(f"({' AND '.join(parts)})", tuple(values))


def _list(lake: Place, project: int, distinct_id: str | None, at: int) -> None:
    """E1. Raises SwapRefused."""
    events = DeltaTable(table_uri(lake, "events"))
    turn = (events.transaction_version(MAINTAIN) or 0) + 1
    erased = erased_of(events).with_person(project, distinct_id, at)
    try:
        events.alter.set_table_properties(
            as_properties(erased),
            raise_if_not_exists=False,
            commit_properties=CommitProperties(
                app_transactions=transactions({MAINTAIN: turn}), custom_metadata={"streamgauge": _NOTE}
            ),
        )
    except (DeltaError, OSError) as error:
        raise SwapRefused(f"{_NOTE}: {error}") from error


def _rewritten(
    lake: Place, name: TableName, who: Condition, now: datetime, resources: Resources, note: str = _NOTE
) -> TableReceipt:
    """E2: until a fresh handle holds nothing of her."""
    known: dict[str, int] = {}  # files never change, so each is looked at once
    files = removed = 0
    while True:
        version, done = _insist(lambda: _rewrite_date(lake, name, who, now, resources, known, note))
        if done is None:
            return TableReceipt(name, files, removed, 0, version)
        files += done.files_in
        removed += done.rows_in - done.rows_out


def _rewrite_date(
    lake: Place,
    name: TableName,
    who: Condition,
    now: datetime,
    resources: Resources,
    known: dict[str, int],
    note: str,
) -> tuple[int, Swapped | None]:
    """The oldest date that holds her, if any does, as of the version returned. Raises SwapRefused."""
    table = DeltaTable(table_uri(lake, name))
    live = live_files(table)
    unknown = [file.path for file in live if file.path not in known]
    known |= dict.fromkeys(unknown, 0) | count_rows(lake / name, unknown, who)
    holding = [file for file in live if known[file.path]]
    if not holding:
        return table.version(), None
    day = min(file.date for file in holding)
    files = [file for file in holding if file.date == day]

    def rejects(removed: int) -> dict[str, int]:
        counted = (table.transaction_version(REJECTS_REMOVED) or 0) + removed
        return {REJECTS_REMOVED: counted} if name == "dead_letters" else {}

    return table.version(), rewrite(table, name, files, now, resources, who, note, rejects)


def _delete_old(lake: Place, name: TableName, who: Condition) -> int:
    """E4: erasure goes before the day for which replaced files are kept; a reader that held one asks again."""
    table = DeltaTable(table_uri(lake, name))
    unnamed = table.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False, full=True)
    deleted = 0
    for path in unnamed:
        try:
            held = count_rows(lake / name, [path], who)
        except Unavailable:  # half written: by a writer that knows the list, or by one that died, and then vacuum's
            continue
        if held:
            (lake / name / path).unlink(missing_ok=True)
            deleted += 1
    return deleted


def _rebuilt(lake: Place, now: datetime) -> list[date]:
    """E5: waits for a moment at which rollups stand where events stand; the hourly task does what is left."""
    for turn in range(_TRIES):
        if turn:
            time.sleep(random.uniform(0, 2 * _PAUSE_SECONDS))
        try:
            if days := rebuild_rollups(lake, now):
                return days
        except SwapRefused as refused:
            log.info("a rebuild gave way", extra={"reason": str(refused)})
    return []


def _insist(step: Callable[[], _T]) -> _T:
    for turn in range(_TRIES):
        if turn:
            time.sleep(random.uniform(0, 2 * _PAUSE_SECONDS))
        try:
            return step()
        except SwapRefused as refused:
            last = refused
            log.info("an erasure gave way", extra={"reason": str(refused)})
    raise Unavailable(f"others kept writing; repeat the erasure ({last})")
