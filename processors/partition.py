"""The accept rule: which record of a partition is taken, dropped or missing. Pure."""

import zlib
from collections.abc import Set
from dataclasses import dataclass, field
from enum import Enum

from processors.decode import DecodePolicy, LogRecord, decode_record
from processors.duplicates import DuplicateWindow
from processors.poison import Poison, decode_around
from schemas.deadletters import DeadLetter
from schemas.rows import Row
from storage.lake.erased import Erased


class Verdict(Enum):
    """What becomes of a record."""

    DROP = "drop"  # of another generation, or already durable or buffered
    TAKE = "take"
    HOLE = "hole"  # records in between are missing: seek back


@dataclass(frozen=True, slots=True)
class RecordCount:
    """What one record came to; `lines` is the sum of rows, rejects, duplicates and erased."""

    partition: int
    offset: int
    lines: int
    rows: int
    rejects: int
    duplicates: int
    timestamp: int
    crc: int
    erased: int = 0


@dataclass(frozen=True, slots=True)
class Accepted:
    """One accepted record, taken apart."""

    rows: list[Row]
    rejects: list[DeadLetter]
    count: RecordCount


@dataclass(slots=True)
class PartitionState:
    """Where one owned partition stands; `next` is the only offset it takes."""

    partition: int
    generation: int
    next: int
    window: DuplicateWindow
    # Dead letters that are in the lake already bind every later version of the decoder.
    rejected: Set[tuple[int, int]] = field(default_factory=frozenset)
    is_closed: bool = False
    poison: Poison = field(default_factory=dict)
    erased: Erased = field(default_factory=Erased)

    def verdict(self, generation: int, current_generation: int, offset: int) -> Verdict:
        """Whether a record of `generation` at `offset` is taken."""
        if self.is_closed or generation != current_generation or generation != self.generation:
            return Verdict.DROP
        if offset < self.next:
            return Verdict.DROP
        return Verdict.TAKE if offset == self.next else Verdict.HOLE

    def accept(self, record: LogRecord, policy: DecodePolicy) -> Accepted:
        """Take the record apart and move on; it must have the verdict TAKE."""
        rows: list[Row] = []
        rejects: list[DeadLetter] = []
        erased, newest = 0, self.erased.newest
        around = self.poison.get(record.offset)
        items = decode_record(record, policy) if around is None else decode_around(record, policy, around)
        for item in items:
            if isinstance(item, DeadLetter):
                rejects.append(item)
            elif self.rejected and (record.offset, item.record_index) in self.rejected:
                rejects.append(_bound(item))
            elif item.received_at <= newest and self.erased.covers(item.project_id, item.distinct_id, item.received_at):
                erased += 1
            elif self.window.add(item.project_id, item.event_id, item.received_at):
                rows.append(item)
        self.window.forget()
        self.next = record.offset + 1
        count = RecordCount(
            partition=record.partition,
            offset=record.offset,
            lines=len(items),
            rows=len(rows),
            rejects=len(rejects),
            duplicates=len(items) - len(rows) - len(rejects) - erased,
            timestamp=record.timestamp,
            crc=zlib.crc32(record.value or b""),
            erased=erased,
        )
        return Accepted(rows, rejects, count)


def _bound(row: Row) -> DeadLetter:
    """A line that an earlier decoder rejected durably; its row in `dead_letters` is not written again."""
    return DeadLetter(
        row.kafka_partition,
        row.kafka_offset,
        row.record_index,
        "invalid event",
        b"",
        row.received_at,
        "rejected before",
    )
