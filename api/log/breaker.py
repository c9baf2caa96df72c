"""How long to refuse for a log that does not answer, and when to ask it again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """How long an open breaker refuses before a probe: the first time, and at most."""

    first_pause_seconds: float = 1
    longest_pause_seconds: float = 5


class Breaker:
    """Opened, it stays so until a probe succeeds. Not for use by several threads."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._probes = 0
        self.is_open = False

    def open(self) -> None:
        """The log was found not to answer."""
        self.is_open = True
        self._probes = 0

    def close(self) -> None:
        """The log answered a probe."""
        self.is_open = False

    def pause_seconds(self, jitter: float) -> float:
        """How long to refuse before the next probe; `jitter` is within 0 and 1."""
        shortest, longest = self._policy.first_pause_seconds, self._policy.longest_pause_seconds
        self._probes += 1
        return shortest + (min(longest, shortest * self._probes) - shortest) * jitter
