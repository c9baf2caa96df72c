"""When things happened, kept in memory that several processes may share: the exact sliding windows."""

import fcntl
import mmap
import os
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Final

from schemas.limits import MOST_REQUESTS, Limit

# Longest wait for the other processes, each of which holds the lock for microseconds: longer means that one of them
# was stopped in the middle, and a door that waits for it is closed.
_LOCK_SECONDS: Final = 0.05
_MICROSECONDS: Final = 1_000_000

# Each subject has a ring of the instants of its last admissions, in the smallest class of rings that its windows need:
# it moves to the next one when it is about to forget an instant that still counts. So a few busy subjects and many
# quiet ones fit the same memory, which is bounded by what a host can admit in a window and not by who asks.
_SMALLEST: Final = 16
_CLASS_BYTES: Final = 4 * 1024 * 1024
_MOST_RINGS: Final = 16_384
# Rings that a subject may lie in; when all are taken, the one that was silent longest is given up.
_WAYS: Final = 8
# Words before the ring: two of the subject's digest, and the number of its admissions.
_HEAD: Final = 3
_WORD: Final = 8
_MOST_CACHED: Final = 50_000


class WindowsBusy(Exception):
    """The shared memory cannot be had now: another process holds it, or there is none."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request is admitted, and where its subject stands after it, by the limit it is closest to."""

    is_admitted: bool
    limit: int
    remaining: int
    # Until an admission leaves the window; after a refusal, until a request would be admitted.
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class _Class:
    """Rings of one size: where they begin, in words, and how many there are."""

    start: int
    capacity: int
    rings: int

    @property
    def words(self) -> int:
        return self.capacity + _HEAD

    def places(self, digest: int) -> range:
        """Where the rings begin that a subject may lie in."""
        ways = min(_WAYS, self.rings)
        first = self.start + digest % (self.rings // ways) * ways * self.words
        return range(first, first + ways * self.words, self.words)


def _layout() -> tuple[_Class, ...]:
    classes: list[_Class] = []
    start, capacity = 0, _SMALLEST
    while capacity <= MOST_REQUESTS:
        rings = min(_MOST_RINGS, _CLASS_BYTES // (_WORD * capacity))
        classes.append(_Class(start, capacity, rings))
        start += rings * (capacity + _HEAD)
        capacity *= 2
    return tuple(classes)


_CLASSES: Final = _layout()
SIZE_BYTES: Final = _WORD * (_CLASSES[-1].start + _CLASSES[-1].rings * _CLASSES[-1].words)


@dataclass(slots=True)
class _Ring:
    """Where a subject lies, as this process saw it last."""

    digest: tuple[int, int]
    level: int
    place: int


class Windows:
    """The windows of all subjects. Without a file they are this process's own; any thread may call."""

    def __init__(self, path: Path | None = None, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """Raises OSError where the file cannot be had in full: touching a hole on a full disk would end the process."""
        self._clock = clock
        self._mutex = Lock()
        self._file: int | None = None
        if path is not None:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if self._file is not None and os.fstat(self._file).st_size < SIZE_BYTES:
                os.posix_fallocate(self._file, 0, SIZE_BYTES)
            self._map = mmap.mmap(-1 if self._file is None else self._file, SIZE_BYTES)
        except BaseException:
            if self._file is not None:
                os.close(self._file)
            raise
        self._words = memoryview(self._map).cast("Q")
        self._rings: dict[str, _Ring] = {}

    def take(self, subject: str, limits: Sequence[Limit]) -> Verdict:
        """Admit a request if all limits do, and count it then only; raises WindowsBusy."""
        with self._locked():
            # Read while nobody else writes, so that the instants of a ring never fall.
            now = self._clock() // 1000
            ring = self._find(subject) or self._place(subject, 0, now)
            return self._judge(subject, ring, limits, now)

    def give_back(self, subject: str) -> None:
        """Count the last admission of a subject no more; raises WindowsBusy."""
        with self._locked():
            if (ring := self._find(subject)) is not None and self._words[ring.place + 2]:
                self._words[ring.place + 2] -= 1

    def forget(self, subject: str) -> None:
        """Begin anew with a subject; raises WindowsBusy."""
        with self._locked():
            if (ring := self._find(subject)) is not None:
                self._words[ring.place + 2] = 0

    def close(self) -> None:
        """Give up the memory; safe to repeat."""
        if not self._map.closed:
            self._words.release()
            self._map.close()
            if self._file is not None:
                os.close(self._file)

    def _judge(self, subject: str, ring: _Ring, limits: Sequence[Limit], now: int) -> Verdict:
        words, place = self._words, ring.place
        count, capacity = words[place + 2], _CLASSES[ring.level].capacity
        if count and words[place + _HEAD + (count - 1 & capacity - 1)] > now:
            count = words[place + 2] = 0  # of a time before the host was started
        held = min(count, capacity)
        refusal: tuple[int, Limit] | None = None
        for limit in limits:
            if held >= limit.requests:
                oldest = words[place + _HEAD + (count - limit.requests & capacity - 1)]
                wait = oldest + limit.seconds * _MICROSECONDS - now
                if wait > 0 and (refusal is None or wait > refusal[0]):
                    refusal = wait, limit
        if refusal is not None:
            return Verdict(False, refusal[1].requests, 0, refusal[0] / _MICROSECONDS)
        if held == capacity and self._needs_more(ring, limits, now):
            ring = self._move(subject, ring, now)
            place, capacity, count = ring.place, _CLASSES[ring.level].capacity, held
        words[place + _HEAD + (count & capacity - 1)] = now
        words[place + 2] = count + 1
        standings = [self._standing(place, capacity, count + 1, limit, now) for limit in limits]
        return min(standings, key=lambda verdict: verdict.remaining)

    def _needs_more(self, ring: _Ring, limits: Sequence[Limit], now: int) -> bool:
        """Whether the instant that the next admission overwrites still counts."""
        capacity = _CLASSES[ring.level].capacity
        oldest = self._words[ring.place + _HEAD + (self._words[ring.place + 2] & capacity - 1)]
        return any(capacity < limit.requests and now - oldest < limit.seconds * _MICROSECONDS for limit in limits)

    def _standing(self, place: int, capacity: int, count: int, limit: Limit, now: int) -> Verdict:
        """Where a subject stands with one limit; instants rise, but for where the ring closes."""
        words, ring, mask = self._words, place + _HEAD, capacity - 1
        first = count - min(count, capacity, limit.requests)
        start, end = ring + (first & mask), ring + (count - 1 & mask)
        gone = now - limit.seconds * _MICROSECONDS
        if start <= end:
            oldest = bisect_right(words, gone, start, end)
            used = end - oldest + 1
        elif words[ring + mask] > gone:
            oldest = bisect_right(words, gone, start, ring + mask)
            used = ring + capacity - oldest + end - ring + 1
        else:
            oldest = bisect_right(words, gone, ring, end)
            used = end - oldest + 1
        wait = (words[oldest] + limit.seconds * _MICROSECONDS - now) / _MICROSECONDS
        return Verdict(True, limit.requests, limit.requests - used, wait)

    def _find(self, subject: str) -> _Ring | None:
        """The subject's ring: where this process saw it last, else wherever it is now."""
        words = self._words
        ring = self._rings.get(subject)
        if ring is None:
            digest = blake2b(subject.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            ring = _Ring((int.from_bytes(digest[:8], "big") or 1, int.from_bytes(digest[8:], "big")), 0, 0)
            if len(self._rings) >= _MOST_CACHED:
                self._rings.clear()
            self._rings[subject] = ring
        first, second = ring.digest
        if words[ring.place] == first and words[ring.place + 1] == second:
            return ring
        for level in range(len(_CLASSES) - 1, -1, -1):
            for place in _CLASSES[level].places(first):
                if words[place] == first and words[place + 1] == second:
                    ring.level, ring.place = level, place
                    return ring
        return None

    def _place(self, subject: str, level: int, now: int) -> _Ring:
        """An empty ring of a class for the subject: a free one, else that of the subject silent longest."""
        ring, words, capacity = self._rings[subject], self._words, _CLASSES[level].capacity

        def silent_since(place: int) -> int:
            if not (words[place] and (count := words[place + 2])):
                return -1
            last: int = words[place + _HEAD + (count - 1 & capacity - 1)]
            return -1 if last > now else last

        place = min(_CLASSES[level].places(ring.digest[0]), key=silent_since)
        words[place + 2] = 0
        words[place], words[place + 1] = ring.digest
        ring.level, ring.place = level, place
        return ring

    def _move(self, subject: str, ring: _Ring, now: int) -> _Ring:
        """Into the next class, with all that it holds. The larger ring is found first, whenever this process ends."""
        words, old, capacity = self._words, ring.place, _CLASSES[ring.level].capacity
        body, cut = old + _HEAD, words[old + 2] & capacity - 1
        ring = self._place(subject, ring.level + 1, now)
        new = ring.place + _HEAD
        words[new : new + capacity - cut] = words[body + cut : body + capacity]
        words[new + capacity - cut : new + capacity] = words[body : body + cut]
        words[ring.place + 2] = capacity
        words[old] = 0
        return ring

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._mutex:
            if self._map.closed:
                raise WindowsBusy("closed")
            if self._file is None:
                yield
                return
            self._lock_file(self._file)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _lock_file(self, file: int) -> None:
        deadline = 0.0
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                moment = time.monotonic()
                deadline = deadline or moment + _LOCK_SECONDS
                if moment > deadline:
                    raise WindowsBusy("another process holds the limits") from error
                time.sleep(0.000_05)
            else:
                return
