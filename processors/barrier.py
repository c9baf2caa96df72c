"""The durability barrier of a worker's three tables: fsync on a local disk, nothing on a store."""

from pathlib import Path

from storage.lake.commit import FencedTable
from storage.lake.durability import Barrier


class DiskBarrier:
    """fsync of everything up to a table's version; raises OSError when the disk refuses."""

    def __init__(self, synced: Path) -> None:
        self._synced = synced
        self._barriers: dict[str, Barrier] = {}

    def sync(self, table: FencedTable) -> None:
        """Make the table durable up to the version its handle is at."""
        barrier = self._barriers.get(table.uri)
        if barrier is None:
            barrier = self._barriers[table.uri] = Barrier(Path(table.uri), self._synced)
        barrier.sync(table.table)


class NoBarrier:
    """For a store that keeps what it took."""

    def sync(self, table: FencedTable) -> None:
        """Nothing to do."""
