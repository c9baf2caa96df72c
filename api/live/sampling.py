"""Which of the accepted events a stream shows: all up to a rate, of more an even share, and it says so. Pure."""

import math

MOST_EVENTS = 100
# Events may have 200 KB each.
MOST_BYTES = 1024 * 1024
_WINDOW_SECONDS = 1.0


class Sampling:
    """One project's seconds, one after another; every reader of the project sees the same events."""

    def __init__(self, now: float) -> None:
        self._started = now
        self._seen = self._shown = self._left_out = self._bytes = 0
        # As the second before went, so that what is shown of this one is spread over it.
        self._share = 1.0

    def turn(self, now: float) -> tuple[int, int] | None:
        """End a second that is over: how many were shown and left out, where any were left out."""
        if now - self._started < _WINDOW_SECONDS:
            return None
        told = (self._shown, self._left_out) if self._left_out else None
        self._share = min(1.0, MOST_EVENTS / self._seen) if self._seen else 1.0
        self._started = now
        self._seen = self._shown = self._left_out = self._bytes = 0
        return told

    def places(self, size: int) -> list[int]:
        """Which of so many further events may be shown."""
        count = min(math.ceil(size * self._share), MOST_EVENTS - self._shown)
        self._seen += size
        self._left_out += size - count
        return [place * size // count for place in range(count)]

    def fits(self, length: int) -> bool:
        """Whether one of so many bytes is shown; it counts then."""
        if self._bytes + length > MOST_BYTES:
            self._left_out += 1
            return False
        self._shown += 1
        self._bytes += length
        return True
