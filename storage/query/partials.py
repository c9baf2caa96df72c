"""Figures kept while the files that hold their rows are the same: what is over is counted once."""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta

from schemas.windows import Bucket, TimeRange
from storage.lake.sessions import LONGEST_SILENCE
from storage.query.engine import Row

_DAY = timedelta(days=1)


class Partials:
    """The last figures, each with what it was made from. Thread-safe."""

    def __init__(self, capacity: int = 50_000) -> None:
        self._capacity = capacity
        self._parts: OrderedDict[Hashable, tuple[Sequence[str], Mapping[str, str] | None, Row]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, files: Sequence[str], aliases: Mapping[str, str] | None) -> Row | None:
        """The figures, if exactly these files were read, and people, where they matter, were the same."""
        with self._lock:
            made = self._parts.get(key)
            if made is None or made[0] != files or made[1] is not aliases:
                return None
            self._parts.move_to_end(key)
            return made[2]

    def put(self, key: Hashable, files: Sequence[str], aliases: Mapping[str, str] | None, figures: Row) -> None:
        """Keep them; those used longest ago go when there are too many."""
        with self._lock:
            self._parts[key] = (files, aliases, figures)
            self._parts.move_to_end(key)
            if len(self._parts) > self._capacity:
                self._parts.popitem(last=False)


class FilesByDate:
    """The files of a snapshot by the date in their paths; a row of an instant is in one of its date."""

    def __init__(self, files: Sequence[str]) -> None:
        self._files: dict[date, list[str]] = {}
        for file in files:
            self._files.setdefault(date.fromisoformat(file.rpartition("/date=")[2][:10]), []).append(file)

    def each(self) -> dict[date, tuple[str, ...]]:
        """The files of every date that has some."""
        return {day: tuple(self._files[day]) for day in sorted(self._files)}

    def days(self, span: TimeRange) -> tuple[Bucket, ...]:
        """The days of a range, in UTC, that have files: on all others nothing happened."""
        found = []
        for day in sorted(self._files):
            begun = datetime.combine(day, time(), UTC)
            start, end = max(begun, span.start), min(begun + _DAY, span.end)
            if start < end:
                found.append(Bucket(day.isoformat(), start, end))
        return tuple(found)

    def around(self, bucket: Bucket) -> tuple[str, ...]:
        """All that sessions of a bucket may be in."""
        day, last = (bucket.start - LONGEST_SILENCE).date(), (bucket.end + LONGEST_SILENCE).date()
        found: list[str] = []
        while day <= last:
            found += self._files.get(day, ())
            day += _DAY
        return tuple(found)
