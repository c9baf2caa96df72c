"""The `_delta_log` of a table, read as files: what delta-rs does not tell.

delta-rs answers one application transaction by name but never lists them, and opens no table whose
newest checkpoint is torn; audit, barrier and boot check need both.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import LakeBroken
from storage.lake.place import Place, names_in

_FETCHES = 16  # a round trip each, side by side
_POSITION = re.compile(r".+/\d+")
_ENTRY = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet")


@dataclass(frozen=True, slots=True)
class LoggedFile:
    """A data file as a log entry names it."""

    path: str  # relative to the table
    size: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What one version did."""

    version: int
    added: tuple[LoggedFile, ...]
    removed: frozenset[str]
    transactions: dict[str, int]


class TornEntry(Exception):
    """A log entry is empty, cut or not JSON."""


class DeltaLog:
    """The log of one table on local disk, by its files."""

    def __init__(self, table: Path) -> None:
        self.table = table
        self.directory = table / "_delta_log"

    def entry_path(self, version: int) -> Path:
        return self.directory / f"{version:020}.json"

    def checkpoint_path(self, version: int) -> Path:
        return self.directory / f"{version:020}.checkpoint.parquet"

    @property
    def pointer(self) -> Path:
        """The hint which checkpoint is the newest."""
        return self.directory / "_last_checkpoint"

    def versions(self) -> list[int]:
        """Versions that have an entry, ascending."""
        return self._numbers(_ENTRY)

    def checkpoints(self) -> list[int]:
        """Versions that have a checkpoint, ascending."""
        return self._numbers(_CHECKPOINT)

    def _numbers(self, pattern: re.Pattern[str]) -> list[int]:
        names = os.listdir(self.directory)
        return sorted(int(match[1]) for name in names if (match := pattern.fullmatch(name)))

    def entry(self, version: int) -> Entry:
        """One parsed entry. Raises TornEntry, or FileNotFoundError where the version has none."""
        return parse(version, self.entry_path(version).read_bytes())

    def entries(self, above: int, to: int) -> Iterator[Entry]:
        """The entries of the versions (above, to] that exist."""
        for version in range(above + 1, to + 1):
            try:
                yield self.entry(version)
            except FileNotFoundError:
                continue

    def transactions(self, version: int) -> dict[str, int]:
        """Every application transaction as of a version, from a checkpoint and the entries after it."""
        base = max((number for number in self.checkpoints() if number <= version), default=-1)
        found: dict[str, int] = {}
        if base >= 0:
            for action in self._checkpoint_column(base, "txn"):
                found[action["appId"]] = action["version"]
        for number in range(base + 1, version + 1):
            try:
                found |= self.entry(number).transactions
            except (FileNotFoundError, TornEntry) as error:
                raise LakeBroken(f"{self.table.name}: version {number} of its log cannot be read: {error}") from error
        return found

    def _checkpoint_column(self, version: int, column: str) -> list[dict[str, Any]]:
        path = self.checkpoint_path(version)
        try:
            if column not in pq.read_schema(path).names:
                return []
            values: list[dict[str, Any] | None] = pq.read_table(path, columns=[column])[column].to_pylist()
        except (OSError, pa.ArrowInvalid) as error:
            raise LakeBroken(f"{self.table.name}: checkpoint {version} cannot be read: {error}") from error
        return [value for value in values if value is not None]


def transactions_of(table: Place, version: int) -> dict[str, int]:
    """Every application transaction as of a version. Raises LakeBroken.

    Of a table in a store the log is fetched, from its last checkpoint on.
    """
    if isinstance(table, Path):
        return DeltaLog(table).transactions(version)
    remote = table / "_delta_log"
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(_FETCHES) as pool:
        log = DeltaLog(Path(folder) / table.name)
        log.directory.mkdir(parents=True)
        try:
            names = names_in(remote)
            base = max((v for n in names if (v := _number(_CHECKPOINT, n)) is not None and v <= version), default=-1)
            wanted = [n for n in names if (v := _number(_ENTRY, n)) is not None and base < v <= version]
            wanted += [n for n in names if _number(_CHECKPOINT, n) == base]
            for name, data in zip(wanted, pool.map(lambda name: (remote / name).read_bytes(), wanted), strict=True):
                (log.directory / name).write_bytes(data)
        except OSError as error:
            raise LakeBroken(f"{table.name}: its log cannot be read: {error}") from error
        return log.transactions(version)


def _number(pattern: re.Pattern[str], name: str) -> int | None:
    return int(match[1]) if (match := pattern.fullmatch(name)) else None


def parse(version: int, data: bytes) -> Entry:
    """Read one log entry; every line must be a whole JSON object."""
    added: list[LoggedFile] = []
    removed: set[str] = set()
    transactions: dict[str, int] = {}
    promised: int | None = None
    lines = [line for line in data.split(b"\n") if line.strip()]
    if not lines:
        raise TornEntry(f"version {version} is empty")
    for line in lines:
        try:
            action = json.loads(line)
        except ValueError as error:
            raise TornEntry(f"version {version} is not JSON") from error
        if not isinstance(action, dict):
            raise TornEntry(f"version {version} is not a list of actions")
        if add := action.get("add"):
            added.append(LoggedFile(unquote(add["path"]), add["size"]))
        elif remove := action.get("remove"):
            removed.add(unquote(remove["path"]))
        elif txn := action.get("txn"):
            transactions[txn["appId"]] = txn["version"]
        elif info := action.get("commitInfo"):
            promised = (info.get("operationMetrics") or {}).get("num_added_files")
    if promised is not None and promised != len(added):
        raise TornEntry(f"version {version} names {len(added)} of {promised} files")
    return Entry(version, tuple(added), frozenset(removed), transactions)


def positions(versions: Mapping[str, int]) -> dict[str, int]:
    """Those application transactions that are the position of a partition: `<chain>/<partition>`."""
    return {app: version for app, version in versions.items() if _POSITION.fullmatch(app)}
