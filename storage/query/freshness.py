"""How much of the log an answer holds: positions, the watermark, and whether rollups kept up."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from storage.query.lake import Lake

# Rollups follow their events within milliseconds; after this long the events are read instead.
PATIENCE_SECONDS = 0.25
_STEP_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class LogEnd:
    """Where one partition of the log ended at an instant (unix ms)."""

    offset: int
    at: int


@dataclass(frozen=True, slots=True)
class LogState:
    """What is known of the log: its name in the lake's positions, its partitions, their ends."""

    chain: str
    partitions: int
    ends: Mapping[int, LogEnd] = field(default_factory=dict)


def marks(
    ends: Mapping[int, LogEnd], positions: Mapping[int, int], last: Mapping[int, int], partitions: int
) -> dict[int, int]:
    """By partition, the unix ms up to which everything accepted is in the lake; 0 where nothing is known.

    Where a position equals the log's end, that is the instant the end was seen; else the append time
    of the last record before the position.
    """
    found = {}
    for partition in range(partitions):
        end = ends.get(partition)
        is_at_end = end is not None and positions.get(partition, 0) >= end.offset
        found[partition] = end.at if end is not None and is_at_end else last.get(partition, 0)
    return found


class Watermark:
    """The least of the partitions' marks. What was in the lake stays there, so a mark never goes back. Thread-safe."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._chain = ""
        self._marks: dict[int, int] = {}
        self._lock = threading.Lock()

    def read(self, log: LogState | None) -> int:
        """The watermark in unix ms, 0 while no log is known; read before an answer is made, it is never too late."""
        if log is None:
            return 0
        reader = self._lake.reader("events")
        reader.version(self._lake.max_age_seconds)
        positions = reader.positions(log.chain, range(log.partitions))
        last = {partition: reader.total(f"{log.chain}/{partition}#last_ts") for partition in range(log.partitions)}
        found = marks(log.ends, positions, last, log.partitions)
        with self._lock:
            known = self._marks if log.chain == self._chain else {}
            self._chain = log.chain
            self._marks = {partition: max(mark, known.get(partition, 0)) for partition, mark in found.items()}
            return min(self._marks.values(), default=0)


def rollups_cover(lake: Lake, log: LogState) -> bool:
    """Whether the rollups hold all that the events table held when this was called; waits a moment."""
    events, rollups = lake.reader("events"), lake.reader("rollups")
    events.version(lake.max_age_seconds)
    needed = events.positions(log.chain, range(log.partitions))
    deadline = time.monotonic() + PATIENCE_SECONDS
    age = lake.max_age_seconds
    while True:
        rollups.version(age)
        held = rollups.positions(log.chain, range(log.partitions))
        if all(held.get(partition, 0) >= position for partition, position in needed.items()):
            return True
        if age == 0.0 and time.monotonic() >= deadline:
            return False
        if age == 0.0:
            time.sleep(_STEP_SECONDS)
        age = 0.0
