"""The projects that exist, for lines of foreign producers that name one."""

import time
from collections.abc import Callable

REFRESH_SECONDS = 1.0


class KnownProjects:
    """A set of project ids, read again when one is missing, at most once a second."""

    def __init__(self, read: Callable[[], frozenset[int]], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._ids: frozenset[int] = frozenset()
        self._read_at: float | None = None

    def __contains__(self, project: object) -> bool:
        if project in self._ids:
            return True
        now = self._clock()
        if self._read_at is None or now - self._read_at >= REFRESH_SECONDS:
            self._ids, self._read_at = self._read(), now
        return project in self._ids
