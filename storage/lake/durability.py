"""What delta-rs leaves to us on a local disk: fsync after each commit, and a check before the first.

Nothing here is needed on an object store. A failed fsync is never repeated for the same file: the
kernel may have dropped the pages and call it clean, so the process must end (`NotDurable`).
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import DeltaError

from storage.errors import LakeBroken
from storage.lake.deltalog import DeltaLog, Entry, LoggedFile, TornEntry
from storage.lake.erased import as_properties, erased_of
from storage.lake.place import Place
from storage.lake.tables import TABLES, table_uri, transactions

NOTHING_SYNCED = -1
# A barrier follows every commit, so a table whose last barrier is unknown is either as young as this, or a
# copy. A young one is returned to a whole version and read again from the log; of a copy nothing is dropped.
YOUNG_VERSIONS = 20


class NotDurable(OSError):
    """Data could not be brought to disk, or a committed file is gone: end the process."""


def sync_file(path: Path) -> None:
    """Flush one file or directory to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SyncedVersions:
    """`run/synced.json`: up to which version each table is known to be on disk, shared by all processes.

    It only moves up while processes run, under a file lock, so whoever is behind cannot take back
    what another process made durable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, int]:
        """All known versions; a missing or torn file knows none."""
        try:
            found = json.loads(self.path.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return {str(name): int(version) for name, version in found.items()} if isinstance(found, dict) else {}

    def raise_to(self, table: str, version: int) -> None:
        """Record that everything up to `version` is on disk."""
        with self._locked():
            known = self.read()
            self._write(known | {table: max(version, known.get(table, NOTHING_SYNCED))})

    def reset(self, table: str, version: int) -> None:
        """Set a table's version even downwards; only while no writer is alive."""
        with self._locked():
            self._write(self.read() | {table: version})

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, versions: dict[str, int]) -> None:
        aside = self.path.with_suffix(f".{os.getpid()}.tmp")
        with open(aside, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            json.dump(versions, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, self.path)
        sync_file(self.path.parent)


class Barrier:
    """Brings what any process committed to one table to disk (step F6); used by one thread at a time.

    Every process syncs everything above the version known to be synced, not only commits of its own.
    """

    def __init__(self, table_dir: Path, run_file: Path) -> None:
        self.name = table_dir.name
        self._log = DeltaLog(table_dir)
        self._synced = SyncedVersions(run_file)

    def sync(self, table: DeltaTable | int) -> None:
        """Return once every version up to the table's is on disk. Raises NotDurable: end the process."""
        version = table if isinstance(table, int) else table.version()
        try:
            known = self._synced.read().get(self.name, NOTHING_SYNCED)
            if known >= version:
                return
            self._sync_range(known, version)
            self._synced.raise_to(self.name, version)
        except (OSError, TornEntry) as error:
            raise NotDurable(f"{self.name}: version {version} is not safe on disk: {error}") from error

    def _sync_range(self, known: int, version: int) -> None:
        entries = list(self._log.entries(known, version))
        is_whole = len(entries) == version - known
        files = _live(entries) if is_whole else _live_files(self._log.table, version)
        self._sync_data(files)
        paths = [self._log.entry_path(entry.version) for entry in entries]
        paths += [self._log.checkpoint_path(number) for number in range(known + 1, version + 1)]
        paths.append(self._log.pointer)
        for path in paths:
            with suppress(FileNotFoundError):  # most versions have no checkpoint, and old entries are cleaned up
                sync_file(path)
        sync_file(self._log.directory)

    def _sync_data(self, files: Iterable[LoggedFile]) -> None:
        directories = {self._log.table}
        for file in files:
            path = self._log.table / file.path
            if (size := path.stat().st_size) != file.size:
                raise NotDurable(f"{path} has {size} bytes, its log entry says {file.size}")
            sync_file(path)
            directories.add(path.parent)
        for directory in sorted(directories, reverse=True):
            sync_file(directory)


def _live(entries: Iterable[Entry]) -> list[LoggedFile]:
    """Files that the entries added and did not remove again: a removed one may be vacuumed already."""
    live: dict[str, LoggedFile] = {}
    for entry in entries:
        for path in entry.removed:
            live.pop(path, None)
        live |= {file.path: file for file in entry.added}
    return list(live.values())


def _live_files(table: Path, version: int) -> list[LoggedFile]:
    """Every file of a version, where the entries since the last barrier are not all in the log any more."""
    actions = pa.table(DeltaTable(table, version=version).get_add_actions())
    return [
        LoggedFile(path, size)
        for path, size in zip(actions["path"].to_pylist(), actions["size_bytes"].to_pylist(), strict=True)
    ]


def boot_check(lake: Path, run: Path) -> list[str]:
    """Return every table to its newest whole version, before any writer starts; says what was done.

    Cheap after an orderly stop: only what no barrier covered is looked at. What it takes out of the
    log is kept under `run/quarantine`. Raises LakeBroken where a person is needed.
    """
    done: list[str] = []
    for name in TABLES:
        table = Path(table_uri(lake, name))
        if (table / "_delta_log").is_dir():
            done += [f"{name}: {line}" for line in _TableCheck(table, run).run()]
    return done


@dataclass(slots=True)
class _TableCheck:
    """The boot check of one table, in the order of its steps."""

    table: Path
    run_dir: Path
    seen: dict[str, bool] = field(default_factory=dict)

    def run(self) -> list[str]:
        log = DeltaLog(self.table)
        synced = SyncedVersions(self.run_dir / "synced.json")
        known = synced.read().get(self.table.name, NOTHING_SYNCED)
        versions = log.versions()
        if known > max(versions, default=NOTHING_SYNCED):  # an older copy: nothing of it is known to be whole
            known = NOTHING_SYNCED
        good = _newest_readable(log, versions, known)
        if good is None and versions in ([], [0]):
            synced.reset(self.table.name, NOTHING_SYNCED)
            return [self._discard(log)]
        if good is None:
            raise LakeBroken(f"{self.table.name}: version {versions[0]} of its log is torn; restore a backup")
        torn = [version for version in versions if version > good]
        if torn and self._is_copy(known, torn[-1]):
            raise LakeBroken(f"{self.table.name}: version {torn[0]} of its log is torn; restore a backup")
        done = self._cut_entries(log, torn)
        done += self._cut_checkpoints(log, known, good)
        done += self._return_to_whole_version(log, known, good)
        synced.reset(self.table.name, min(known, good))
        Barrier(self.table, synced.path).sync(log.versions()[-1])
        return done

    def _is_copy(self, known: int, head: int) -> bool:
        return known == NOTHING_SYNCED and head >= YOUNG_VERSIONS

    def _discard(self, log: DeltaLog) -> str:
        """A table whose creation was torn holds nothing: it is made again."""
        self._quarantine(log.directory)
        return "its creation was torn; it will be made again"

    def _cut_entries(self, log: DeltaLog, torn: list[int]) -> list[str]:
        """Step 1: entries from the first torn or missing one on leave the log."""
        for version in torn:
            self._quarantine(log.entry_path(version))
        return [f"versions {torn[0]} to {torn[-1]} were torn and left the log"] if torn else []

    def _cut_checkpoints(self, log: DeltaLog, known: int, head: int) -> list[str]:
        """Step 2: checkpoints that cannot be read or lie above the newest entry, and a pointer to none."""
        done: list[str] = []
        for version in reversed(log.checkpoints()):
            path = log.checkpoint_path(version)
            is_whole = version <= head and _decodes(path)
            if not is_whole:
                self._quarantine(path)
                done.append(f"checkpoint {version} was torn and left the log")
            elif version <= known:
                break  # no version above the barrier starts from an older one
        if log.pointer.exists() and not _names_checkpoint(log):
            self._quarantine(log.pointer)
            done.append("the pointer to the newest checkpoint was torn and left the log")
        return done

    def _return_to_whole_version(self, log: DeltaLog, known: int, head: int) -> list[str]:
        """Step 3: back to the newest version whose files are all there, with that version's positions."""
        entries = list(log.entries(known, head))
        is_complete = len(entries) == head - known
        suspects = {file.path for entry in entries for file in entry.added} if is_complete else None
        target = next(
            (version for version in range(head, max(known, 0) - 1, -1) if self._has_all_files(version, suspects)), None
        )
        if target is None:
            raise LakeBroken(f"{self.table.name}: no version has all its files; restore a backup")
        if target == head:
            return []
        if self._is_copy(known, head):
            raise LakeBroken(
                f"{self.table.name}: files of version {head} are lost or damaged; restore a backup,"
                f" or go back to the newest whole version with `streamgauge lake restore {target}`"
            )
        # A position that did not exist yet goes to 0: the log is read again from its start.
        positions = dict.fromkeys(log.transactions(head), 0) | log.transactions(target)
        restore_version(self.table, target, positions)
        return [f"versions {target + 1} to {head} had lost files; restored version {target} with its positions"]

    def _has_all_files(self, version: int, suspects: set[str] | None) -> bool:
        """Whether the files of a version are whole; those not among the suspects lie below the barrier."""
        try:
            files = _live_files(self.table, version)
        except DeltaError as error:
            raise LakeBroken(f"{self.table.name}: version {version} cannot be opened: {error}") from error
        return all(self._is_whole(file) for file in files if suspects is None or file.path in suspects)

    def _is_whole(self, file: LoggedFile) -> bool:
        if (seen := self.seen.get(file.path)) is not None:
            return seen
        path = self.table / file.path
        is_whole = path.exists() and path.stat().st_size == file.size and _decodes(path)
        self.seen[file.path] = is_whole
        return is_whole

    def _quarantine(self, path: Path) -> None:
        target = self.run_dir / "quarantine" / self.table.name
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = target / path.name
        turn = 0
        while place.exists():
            turn += 1
            place = target / f"{path.name}.{turn}"
        shutil.move(path, place)
        sync_file(path.parent)


def _newest_readable(log: DeltaLog, versions: list[int], known: int) -> int | None:
    """The last entry before the first torn or missing one above the barrier; None where none can be read."""
    newest = known if known in versions else None
    for version in (number for number in versions if newest is None or number > known):
        if newest is not None and version != newest + 1:
            break
        try:
            log.entry(version)
        except TornEntry:
            break
        newest = version
    return newest


def _decodes(path: Path) -> bool:
    """Whether every page of a Parquet file can be read."""
    try:
        with pq.ParquetFile(path) as file:
            for _ in file.iter_batches():
                pass
    except (OSError, pa.ArrowException):
        return False
    return True


def _names_checkpoint(log: DeltaLog) -> bool:
    try:
        pointed = json.loads(log.pointer.read_bytes())
        return log.checkpoint_path(int(pointed["version"])).exists()
    except (ValueError, KeyError, TypeError):
        return False


def restore_version(table: Place, version: int, positions: dict[str, int]) -> int:
    """Bring back the rows of a version together with the given application transactions; no writer may be alive.

    delta-rs' `restore` alone brings back rows but not positions, which would lose events silently.
    """
    try:
        handle = DeltaTable(str(table))
        erased = erased_of(handle)
        handle.restore(
            version,
            commit_properties=CommitProperties(
                app_transactions=transactions(positions), custom_metadata={"streamgauge": f"restore {version}"}
            ),
        )
        restored = DeltaTable(str(table))
        if (everybody := erased_of(restored).merged(erased)) != erased_of(restored):  # an older version knew fewer
            restored.alter.set_table_properties(as_properties(everybody), raise_if_not_exists=False)
        return DeltaTable(str(table)).version()
    except DeltaError as error:
        raise LakeBroken(f"{table.name}: cannot restore version {version}: {error}") from error
