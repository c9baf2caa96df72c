"""A window of recently accepted event ids for one partition.

An id is forgotten when its row was received a window before the latest row accepted on the
partition, or lies `rows` rows back: never by the wall clock, so that every owner of the partition
decides alike. What an id takes, and how far a hash can be trusted: docs/decisions/0011-columns-from-the-log.md.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import chain, islice, repeat

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

# The project seeds the hash, so one id in two projects is two keys.
_SEED = 2**64 - 1
_BUCKET = 8
_FIRST_BITS = 12
_LOADED = 8192
# The lower bits of an entry.
_NUMBER = np.uint64(2**40 - 1)

_Words = NDArray[np.uint64]
_Numbers = NDArray[np.int64]


class DuplicateWindow:
    """Ids as 128-bit hashes, and when their rows were received."""

    def __init__(self, window_seconds: int, rows: int) -> None:
        self._window = window_seconds * 1000
        self._rows = rows
        self._table = _Table(_FIRST_BITS)
        self._next = self._oldest = 1  # rows are numbered as they are accepted
        self._newest = 0
        # From which number on rows were received when.
        self._starts: list[int] = [1]
        self._times: list[int] = [0]

    def load(self, ids: Iterable[tuple[int, str, int]]) -> None:
        """Fill the window from the lake: (project, event id, received unix ms) in the order of the log."""
        rest = iter(ids)
        while part := list(islice(rest, _LOADED)):
            self.add([(project, received, 1) for project, _, received in part], [event_id for _, event_id, _ in part])

    def add(self, runs: Iterable[tuple[int, int, int]], event_ids: Sequence[str]) -> list[int]:
        """Accept ids one after the other; returns the places of those that the window holds already.

        `runs` says of how many of them at a time, what project they belong to and when they were received.
        """
        if not event_ids:
            return []
        projects, times, counts = zip(*runs, strict=True)
        keys = _hashes(projects, counts, event_ids)
        received = np.repeat(np.array(times, np.int64), counts)
        known = self._table.find(keys)
        duplicates: list[int] = []
        if known.any() or len(set(event_ids)) < len(event_ids):
            duplicates = self._duplicates(keys, known, received)
            keys, received = np.delete(keys, duplicates, axis=0), np.delete(received, duplicates)
        if len(keys):
            self._remember(keys, received)
        return duplicates

    def _duplicates(self, keys: _Words, known: _Numbers, received: _Numbers) -> list[int]:
        """By the rule, one by one: some of the ids were there before, if perhaps too long ago."""
        number, newest = self._next, self._newest
        accepted: dict[tuple[int, int], int] = {}
        times: list[int] = []
        found: list[int] = []
        for place, (key, before, at) in enumerate(
            zip(map(tuple, keys.tolist()), known.tolist(), received.tolist(), strict=True)
        ):
            before = accepted.get(key, before)
            if before > 0 and before >= number - self._rows:
                then = times[before - self._next] if before >= self._next else self._received(before)
                if then > newest - self._window:
                    found.append(place)
                    continue
            accepted[key] = number
            times.append(at)
            number, newest = number + 1, max(newest, at)
        return found

    def _received(self, number: int) -> int:
        return self._times[bisect_right(self._starts, number) - 1]

    def _remember(self, keys: _Words, received: _Numbers) -> None:
        changed = np.flatnonzero(np.diff(received, prepend=self._times[-1]))
        self._starts += (self._next + changed).tolist()
        self._times += received[changed].tolist()
        self._newest = max(self._newest, int(received.max()))
        self._forget()
        while self._next + len(keys) - self._oldest > self._table.most:
            self._table = self._table.doubled()
        self._table.add(keys, np.arange(self._next, self._next + len(keys)), self._oldest)
        self._next += len(keys)

    def _forget(self) -> None:
        """Move on the number below which no row counts any more."""
        gone = bisect_right(self._starts, self._oldest) - 1
        while gone + 1 < len(self._times) and self._times[gone] <= self._newest - self._window:
            gone += 1
        self._oldest = max(self._oldest, self._starts[gone], self._next - self._rows)
        if (unused := bisect_right(self._starts, self._oldest) - 1) > _LOADED:
            del self._starts[:unused], self._times[:unused]


class _Table:
    """A hash table in buckets of a cache line, whose entries give way when their rows do not count any more.

    An entry is 64 bits of the hash, 24 others that choose the bucket, and the number of the row.
    """

    def __init__(self, bits: int) -> None:
        self._bits = bits
        table = np.zeros((1 << bits, 2 * _BUCKET), np.uint64)
        self._marks, self._rest = table[:, :_BUCKET], table[:, _BUCKET:]
        # What found its bucket full, two of a hundred when the table is: by mark and place; and the eighths of buckets
        # that it may be looked for in.
        self._spilled = np.zeros(_BUCKET << bits, bool)
        self._beside: dict[tuple[int, int], int] = {}

    @property
    def most(self) -> int:
        """How many rows it is made for."""
        return self._marks.size // 2

    def find(self, keys: _Words) -> _Numbers:
        """The number of the latest row of each key, or 0."""
        places, buckets = self._places(keys)
        known = np.zeros(len(keys), np.int64)
        is_marked = self._marks[buckets] == keys[:, :1]
        if is_marked.any():
            at, slot = np.nonzero(is_marked)
            rest = self._rest[buckets[at], slot]
            is_same = rest & ~_NUMBER == places[at]
            np.maximum.at(known, at[is_same], (rest[is_same] & _NUMBER).astype(np.int64))
        if self._beside:
            for place in np.flatnonzero(self._spilled[self._eighths(keys[:, 1])]).tolist():
                number = self._beside.get((int(keys[place, 0]), int(places[place])), 0)
                known[place] = max(known[place], number)
        return known

    def add(self, keys: _Words, numbers: _Numbers, oldest: int) -> None:
        """Enter rows; entries of rows below `oldest` give way."""
        if len(self._beside) > self.most // 16:
            self._forget(oldest)
        places, buckets = self._places(keys)
        rest = places | numbers.astype(np.uint64)
        left = np.arange(len(keys))
        while len(left):
            bucket = buckets[left]
            is_free = (self._rest[bucket] & _NUMBER) < np.uint64(oldest)
            slot = is_free.argmax(axis=1)
            has_slot = is_free[np.arange(len(left)), slot]
            for place in left[~has_slot].tolist():
                self._beside[int(keys[place, 0]), int(places[place])] = int(numbers[place])
                self._spilled[self._eighths(keys[place, 1])] = True
            left, bucket, slot = left[has_slot], bucket[has_slot], slot[has_slot]
            self._marks[bucket, slot] = keys[left, 0]
            self._rest[bucket, slot] = rest[left]
            left = left[self._rest[bucket, slot] != rest[left]]  # of those that met in one slot the last is in

    def _forget(self, oldest: int) -> None:
        """Drop what lies beside and counts no more; twice as much as ever does may."""
        self._beside = {key: number for key, number in self._beside.items() if number >= oldest}
        self._spilled[:] = False
        self._spilled[self._eighths(np.array([place for _, place in self._beside], np.uint64))] = True

    def doubled(self) -> "_Table":
        """One of twice the size: the next bit of its place says in which half of its bucket an entry goes on."""
        larger = _Table(self._bits + 1)
        is_upper = (self._rest >> np.uint64(63 - self._bits)) & np.uint64(1) == 1
        for half, chosen in ((0, ~is_upper), (1, is_upper)):
            larger._marks[half::2] = self._marks * chosen
            larger._rest[half::2] = self._rest * chosen
        larger._spilled = self._spilled.repeat(2)
        larger._beside = self._beside
        return larger

    def _eighths(self, places: _Words) -> _Words:
        return places >> np.uint64(61 - self._bits)

    def _places(self, keys: _Words) -> tuple[_Words, _Numbers]:
        """The 24 bits of each key that choose a bucket, in their place in an entry; and the bucket."""
        return keys[:, 1] & ~_NUMBER, (keys[:, 1] >> np.uint64(64 - self._bits)).astype(np.int64)


def _hashes(projects: Iterable[int], counts: Iterable[int], event_ids: Sequence[str]) -> _Words:
    seeds = chain.from_iterable(repeat(project & _SEED, count) for project, count in zip(projects, counts, strict=True))
    digests = b"".join(map(xxh3_128_digest, map(str.encode, event_ids), seeds))
    return np.frombuffer(digests, np.uint64).reshape(-1, 2)
