"""`python -m processors.adopt [--from LOG]`: the lake goes on with a copy of its log (`streamgauge lake adopt`)."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from processors.errors import NeedsPerson, WorkerError
from processors.identity import Log, LogRange, wait_for_topics
from processors.settings import WorkerSettings
from storage.errors import StorageError
from storage.lake.durability import Barrier
from storage.lake.place import Place, place_at
from storage.lake.tables import TableName
from storage.maintenance.adoption import LastRead, adopt, logs_of
from storage.maintenance.manual import open_table
from storage.maintenance.merging import Resources

_BROKER_SECONDS = 20.0
_TABLES: tuple[TableName, ...] = ("events", "rollups", "dead_letters")


class Copy(Protocol):
    """What is asked of the log that may be a copy (processors.identity.Log)."""

    def chain(self) -> str:
        """The log's identity."""

    def partitions(self) -> int:
        """How many there are."""

    def range(self, partition: int) -> LogRange:
        """Readable offsets."""

    def fingerprint(self, partition: int, offset: int) -> tuple[int, int, int] | None:
        """(offset, timestamp, CRC-32) of the first record at or after an offset."""

    def find(self, partition: int, timestamp: int, crc: int) -> tuple[int, int] | None:
        """(offset, timestamp) of the first record of this CRC-32 that is not older."""


def adopt_copy(lake: Place, view: Copy, old: str | None, now: datetime, resources: Resources) -> dict[int, LastRead]:
    """Find in the log what was read last of the old one, and let the lake go on behind it; where that is."""
    new, logs = view.chain(), logs_of(lake)
    if new in logs:
        raise NeedsPerson(f"the lake reads this log already ({new}): there is nothing to adopt")
    if not logs:
        raise NeedsPerson("the lake has read no log yet: there is nothing to adopt")
    if old is None and len(logs) > 1:
        raise NeedsPerson(f"the lake has read several logs; name one with --from: {', '.join(sorted(logs))}")
    old = old or next(iter(logs))
    if old not in logs:
        raise NeedsPerson(f"the lake has not read {old}; it has read {', '.join(sorted(logs))}")
    if (fewest := max(logs[old]) + 1) > view.partitions():
        raise NeedsPerson(f"the log has {view.partitions()} partitions, and the lake has read {fewest}: it is no copy")
    starts = {partition: _start(view, partition, last) for partition, last in sorted(logs[old].items())}
    adopt(lake, old, new, starts, now, resources)
    return starts


def _start(view: Copy, partition: int, last: LastRead) -> LastRead:
    """Behind the record that was read last: at its old offset, or where a mirror put it."""
    if not last.timestamp:  # nothing was ever read of it
        return LastRead(view.range(partition).start, 0, 0)
    extent, offset = view.range(partition), last.position - 1
    found = view.fingerprint(partition, offset) if extent.start <= offset < extent.end else None
    if found is not None and (found[0], found[2]) == (offset, last.crc):
        return LastRead(last.position, found[1], last.crc)
    place = view.find(partition, last.timestamp, last.crc)
    if place is None:
        raise NeedsPerson(
            f"partition {partition}: the log does not hold the record that was read last, so it is no copy, or too"
            " young a one; without `lake adopt` it is read from its start"
        )
    return LastRead(place[0] + 1, place[1], last.crc)


def main() -> int:
    """One line for each partition; 1 and one line on standard error when nothing was done."""
    parser = argparse.ArgumentParser(prog="python -m processors.adopt", description=__doc__)
    parser.add_argument("--from", dest="old", help="the log whose positions count, where the lake has read several")
    old = parser.parse_args().old
    settings = WorkerSettings()
    lake, directory = place_at(settings.lake_place), settings.directory
    try:
        open_table(lake, "events")
        wait_for_topics(settings.librdkafka(), [settings.kafka_topic], _BROKER_SECONDS)
        view = Log(settings.librdkafka(), settings.kafka_topic)
        try:
            starts = adopt_copy(lake, view, old, datetime.now(UTC), Resources(scratch=directory.run / "merging"))
        finally:
            view.close()
        if isinstance(lake, Path):
            for name in _TABLES:
                Barrier(lake / name, directory.run / "synced.json").sync(open_table(lake, name))
    except (WorkerError, StorageError, ValueError, OSError) as error:
        print(f"streamgauge: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    for partition, start in starts.items():
        print(f"partition {partition} goes on at offset {start.position}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
