"""When to stop asking a log that does not answer, and when to ask again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """Failures that open the breaker, and how long it refuses before a probe."""

    # One lost connection is no outage; three in a row without a delivery in between are.
    failures: int = 3
    # Failures further apart than this are separate accidents (idle connections are closed now and then).
    memory_seconds: float = 10
    first_pause_seconds: float = 1
    longest_pause_seconds: float = 5


class Breaker:
    """Counts failures in a row; opened, it stays so until a probe succeeds. Not for use by several threads."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._failures = 0
        self._last = 0.0
        self._probes = 0
        self.is_open = False

    def fail(self, now: float) -> bool:
        """Note a failure; whether this one opened the breaker."""
        if now - self._last > self._policy.memory_seconds:
            self._failures = 0
        self._last = now
        self._failures += 1
        if self.is_open or self._failures < self._policy.failures:
            return False
        self.is_open = True
        self._probes = 0
        return True

    def succeed(self) -> None:
        """The log took something, or answered a probe."""
        self._failures = 0
        self.is_open = False

    def pause_seconds(self, jitter: float) -> float:
        """How long to refuse before the next probe; `jitter` is within 0 and 1."""
        shortest, longest = self._policy.first_pause_seconds, self._policy.longest_pause_seconds
        self._probes += 1
        return shortest + (min(longest, shortest * self._probes) - shortest) * jitter
