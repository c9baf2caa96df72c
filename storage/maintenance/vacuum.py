"""Files that no version within the retention names leave the disk, and what killed writers left behind."""

import os
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from storage.errors import Unavailable
from storage.lake.place import Place, sizes

# Longer than any query holds a version, and than a writer may be stopped between its file and its commit.
LEFTOVER_AGE = timedelta(days=1)


def vacuum(table: Place, now: datetime, kept: Callable[[], frozenset[str]] = frozenset) -> tuple[int, int]:
    """Remove unnamed data files (by the table's own retention) and old temporaries; how many of each.

    `kept` are files that stay, asked for when it is known what would go.
    """
    try:
        # Only `full` removes files that no commit ever named.
        handle = DeltaTable(str(table))
        removed = handle.vacuum(full=True, dry_run=True)
        if pinned := kept().intersection(removed):
            unnamed = [path for path in removed if path not in pinned]
            # What went before stays listed for as long as its tombstone.
            there = sizes([table / path for path in unnamed])
            removed = [path for path, size in zip(unnamed, there, strict=True) if size is not None]
            for path in removed:
                (table / path).unlink(missing_ok=True)
        elif removed:
            removed = handle.vacuum(full=True, dry_run=False)
    except (DeltaError, OSError) as error:
        raise Unavailable(f"cannot vacuum {table.name}: {error}") from error
    return len(removed), sweep(table, now) if isinstance(table, Path) else 0


def sweep(table: Path, now: datetime) -> int:
    """Remove temporaries of writers that were killed; delta-rs' vacuum never does."""
    swept = 0
    for path in table.rglob("*#*"):
        try:
            if path.is_file() and path.stat().st_mtime < (now - LEFTOVER_AGE).timestamp():
                path.unlink()
                swept += 1
        except FileNotFoundError:  # its writer has just renamed it
            continue
    return swept


def sweep_scratch(place: Path) -> None:
    """Remove what the sorts of dead processes left; each has a directory named by its pid."""
    for left in place.glob("*"):
        if not (left.name.isdecimal() and _is_alive(int(left.name))):
            shutil.rmtree(left, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True
