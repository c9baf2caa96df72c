"""A window of recently accepted event ids for one partition.

An id is forgotten when its row was received a window before the latest row accepted on the
partition, or lies more than `rows` rows back: never by the wall clock, so that every owner of the
partition decides alike.
"""

from collections.abc import Iterable

from xxhash import xxh3_128_intdigest

# The project seeds the hash, so one id in two projects is two keys.
_SEED = 2**64 - 1


class DuplicateWindow:
    """Ids as 128-bit hashes, in the order they were accepted."""

    __slots__ = ("_newest", "_received", "_rows", "_window")

    def __init__(self, window_seconds: int, rows: int) -> None:
        self._window = window_seconds * 1000
        self._rows = rows
        self._received: dict[int, int] = {}
        self._newest = 0

    def __len__(self) -> int:
        return len(self._received)

    def load(self, ids: Iterable[tuple[int, str, int]]) -> None:
        """Fill the window from the lake: (project, event id, received unix ms) in the order of the log."""
        for project, event_id, received in ids:
            self.add(project, event_id, received)
        self.forget()

    def add(self, project: int, event_id: str, received: int) -> bool:
        """Accept an id; False when the window holds it, and nothing changes."""
        key = xxh3_128_intdigest(event_id.encode(), project & _SEED)
        seen = self._received
        before = seen.get(key)
        if before is not None and before > self._newest - self._window:
            return False
        if before is not None:
            del seen[key]
        seen[key] = received
        if received > self._newest:
            self._newest = received
        return True

    def forget(self) -> None:
        """Drop what left the window; called once a record, for it costs as much as adding an id."""
        seen = self._received
        if not seen:
            return
        oldest = next(iter(seen))
        while len(seen) > self._rows or seen[oldest] <= self._newest - self._window:
            del seen[oldest]
            if not seen:
                return
            oldest = next(iter(seen))
