"""The tables questions read, each followed by one handle."""

import threading
from datetime import UTC, datetime

from schemas.windows import TimeRange
from storage.lake.place import Place
from storage.lake.snapshot import Snapshot, TableReader
from storage.lake.tables import TableName

# Fresh enough for a person, and a hundred dashboards cost two looks a second.
MAX_AGE_SECONDS = 0.5
# Before any event.
DAWN = datetime(1, 1, 2, tzinfo=UTC)


class Lake:
    """Readers of the tables, opened when first asked for. Thread-safe."""

    def __init__(self, place: Place | str, max_age_seconds: float = MAX_AGE_SECONDS) -> None:
        self.place = place
        self.max_age_seconds = max_age_seconds
        self._readers: dict[TableName, TableReader] = {}
        self._lock = threading.Lock()

    def reader(self, name: TableName) -> TableReader:
        """The one handle of a table."""
        with self._lock:
            if (reader := self._readers.get(name)) is None:
                reader = self._readers[name] = TableReader(self.place, name)
            return reader

    def version(self, name: TableName) -> int:
        """The version of a table that is fresh enough."""
        return self.reader(name).version(self.max_age_seconds)

    def snapshot(self, name: TableName, predicate: str | None = None) -> Snapshot:
        """A version of a table that is fresh enough, and its files that may match."""
        return self.reader(name).snapshot(predicate, self.max_age_seconds)


def within(project: int, span: TimeRange, column: str = "timestamp") -> str:
    """The predicate that prunes files: by project, instant and the partition column `date`."""
    return (
        f"project_id = {project}"
        f" AND date >= '{span.start.date()}' AND date <= '{span.end.date()}'"
        f" AND {column} >= '{span.start.isoformat()}' AND {column} < '{span.end.isoformat()}'"
    )
