"""Dead letters as they come into the lake."""

from dataclasses import dataclass

from storage.lake.snapshot import relation
from storage.query.engine import Cursor
from storage.query.lake import Lake


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A dead letter without its bytes."""

    partition: int
    offset: int
    index: int
    reason: str
    detail: str | None
    project: int | None
    received: int


class DeadLetterTail:
    """Follows the table from the first call on; a record's dead letters come in one commit, so offsets suffice."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._version: int | None = None
        self._last: dict[int, int] = {}

    def fresh(self, cursor: Cursor) -> list[StoredLetter]:
        """What came since the last call; nothing the first time."""
        version = self._lake.reader("dead_letters").version()
        if version == self._version:
            return []
        is_first, self._version = self._version is None, version
        source, files = relation(self._lake.snapshot("dead_letters"))
        if is_first:
            rows = cursor.rows(f"SELECT kafka_partition, max(kafka_offset) FROM {source} GROUP BY ALL", files)
            self._last = dict(rows)
            return []
        rows = cursor.rows(
            "SELECT kafka_partition, kafka_offset, record_index, reason, detail, project_id, epoch_ms(received_at)"
            f" FROM {source} ORDER BY kafka_partition, kafka_offset, record_index",
            files,
        )
        letters = [StoredLetter(*row) for row in rows if row[1] > self._last.get(row[0], -1)]
        self._last |= {letter.partition: letter.offset for letter in letters}
        return letters
