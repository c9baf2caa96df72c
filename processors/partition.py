"""The accept rule: which record of a partition is taken, dropped or missing. Pure."""

import zlib
from collections import Counter
from collections.abc import Container, Sequence, Set
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from processors.decode import Decoded, DecodePolicy, LogRecord, complete, decode_record
from processors.duplicates import DuplicateWindow
from processors.poison import Poison, decode_around
from schemas.deadletters import DeadLetter
from schemas.rows import Events, Run
from storage.lake.erased import Erased

# What becomes of an event that is no row.
Fate = Literal["rejects", "erased", "duplicates"]


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
    crc: int  # of the last of those that were taken together, else 0
    erased: int = 0


@dataclass(frozen=True, slots=True)
class Accepted:
    """Accepted records of one partition, taken apart."""

    events: Events
    rejects: list[DeadLetter]
    counts: list[RecordCount]


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

    def verdict(self, generation: int, current_generation: int, offset: int, ahead: int = 0) -> Verdict:
        """Whether a record of `generation` at `offset` is taken; `ahead` records are, and wait to be accepted."""
        if self.is_closed or generation != current_generation or generation != self.generation:
            return Verdict.DROP
        expected = self.next + ahead
        if offset < expected:
            return Verdict.DROP
        return Verdict.TAKE if offset == expected else Verdict.HOLE

    def accept(self, records: Sequence[LogRecord], policy: DecodePolicy) -> Accepted:
        """Take records apart that had the verdict TAKE, in their order, and move on: a hang here stands still."""
        found = Decoded()
        lines: list[int] = []
        rejects: list[int] = []
        for record in records:
            before, refused = found.count, len(found.rejects)
            around = self.poison.get(record.offset)
            if around is None:
                decode_record(record, policy, found)
            else:
                decode_around(record, policy, around, found)
            lines.append(found.count - before)
            rejects.append(len(found.rejects) - refused)
        dropped = self._drop(found)
        self.next += len(records)
        counts = []
        # A position is told with the checksum of the record before it, and lies behind records taken together.
        for record, all_lines, refused in zip(records, lines, rejects, strict=True):
            lost = Counter(dropped.get(record.offset, ()))
            counts.append(
                RecordCount(
                    partition=record.partition,
                    offset=record.offset,
                    lines=all_lines,
                    rows=all_lines - refused - lost.total(),
                    rejects=refused + lost["rejects"],
                    duplicates=lost["duplicates"],
                    timestamp=record.timestamp,
                    crc=zlib.crc32(record.value or b"") if record is records[-1] else 0,
                    erased=lost["erased"],
                )
            )
        return Accepted(found.events, found.rejects, counts)

    def _drop(self, found: Decoded) -> dict[int, list[Fate]]:
        """Settle which events do not become rows; returns by offset what becomes of them instead."""
        events = found.events
        untimely = complete(found)
        fates: dict[int, Fate] = {}
        if self.rejected or any(run.received <= self.erased.newest for run in events.runs):
            fates = self._looked_at(events)
        fates |= dict.fromkeys(untimely, "rejects")
        fates |= dict.fromkeys(self._duplicates(events, fates), "duplicates")
        events.dropped = sorted(fates)
        by_offset: dict[int, list[Fate]] = {}
        if fates:
            runs = list(events.run_of_each())
            for place, fate in fates.items():
                by_offset.setdefault(runs[place].offset, []).append(fate)
                if fate == "rejects":
                    found.rejects.append(untimely.get(place) or _bound(runs[place], events.indices[place]))
        return by_offset

    def _duplicates(self, events: Events, besides: Container[int]) -> list[int]:
        """The places of events whose ids the window holds; the places `besides` are no rows anyway."""
        if not besides:
            runs = [(run.project, run.received, run.events) for run in events.runs]
            return self.window.add(runs, events.event_ids)
        kept = [place for place in range(len(events)) if place not in besides]
        each = list(events.run_of_each())
        runs = [(each[place].project, each[place].received, 1) for place in kept]
        return [kept[place] for place in self.window.add(runs, [events.event_ids[place] for place in kept])]

    def _looked_at(self, events: Events) -> dict[int, Fate]:
        """The places of events that were rejected before, or whose person was erased."""
        fates: dict[int, Fate] = {}
        for place, run in enumerate(events.run_of_each()):
            if (run.offset, events.indices[place]) in self.rejected:
                fates[place] = "rejects"
            elif self.erased.covers(run.project, events.distinct_ids[place], run.received):
                fates[place] = "erased"
        return fates


def _bound(run: Run, index: int) -> DeadLetter:
    """A line that an earlier decoder rejected durably; its row in `dead_letters` is not written again."""
    return DeadLetter(run.partition, run.offset, index, "invalid event", b"", run.received, "rejected before")
