"""When a child that ended may start again: pure, so that it can be read and tested without waiting."""

from dataclasses import dataclass, field
from typing import Final

# The first restart waits just long enough for a port or a lock to be let go.
_FIRST_SECONDS: Final = 0.5
# Longer would break the promise that a killed child is back within 90 s.
_LONGEST_SECONDS: Final = 30.0
# A child that lived this long has started well: its next end is a new story.
_SETTLED_SECONDS: Final = 60.0

# "My state is doubtful, start me afresh": a hole, a stuck group member, a lost fence.
DOUBTFUL: Final = 75
# So many of them in so long are a loop, which helps nobody; then one a minute, to notice when the cause is gone.
_DOUBTFUL_EXITS: Final = 3
_DOUBTFUL_WINDOW_SECONDS: Final = 600.0
_DOUBTFUL_SECONDS: Final = 60.0


@dataclass(slots=True)
class Restarts:
    """The recent ends of one child."""

    failures: int = 0
    doubts: list[float] = field(default_factory=list)

    def delay(self, now: float, lived: float, status: int, *, is_log_away: bool) -> float:
        """Seconds to wait after an end with this exit status; an end for want of the log counts for nothing."""
        if is_log_away:
            return _FIRST_SECONDS
        if status == DOUBTFUL:
            self.doubts = [at for at in self.doubts if now - at < _DOUBTFUL_WINDOW_SECONDS] + [now]
            return _FIRST_SECONDS if len(self.doubts) <= _DOUBTFUL_EXITS else _DOUBTFUL_SECONDS
        if lived >= _SETTLED_SECONDS:
            self.failures = 0
        self.failures += 1
        return float(min(_FIRST_SECONDS * 2 ** (self.failures - 1), _LONGEST_SECONDS))
