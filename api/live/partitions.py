"""What the owners of the partitions say of themselves: whose chain holds, how fresh, ready or not."""

from collections.abc import Callable
from typing import Literal

from schemas.live import PartitionStatus

State = Literal["live", "rebuilding", "stale"]

# Heartbeats come once a second. Shorter, and a garbage collection looks like a dead worker.
STALE_MILLIS = 5_000
# A take-over after kill -9 needs a session time-out and a load; shorter, and every one would be an outage.
UNREADY_MILLIS = 30_000
# Heartbeats of different workers are a second apart at most. Longer, and what one worker counts while another is dead
# is shown so long beside what the dead one cannot count.
_APART_MILLIS = 2_000
# A worker asks for the end of its log every two seconds, and says a second later that it was there. Shorter, and a
# healthy system would call itself behind.
BEHIND_MILLIS = 6_000


class Partitions:
    """The latest heartbeat of each partition; `now` is unix milliseconds throughout.

    The latest is the one with the greatest `at`, not the greatest position: a new owner begins where the lake ends,
    behind what the dead one had read.
    """

    def __init__(self, expected: Callable[[], int]) -> None:
        """`expected` tells the partitions of the events topic; 0 while unknown, and then those heard of are all."""
        self._expected = expected
        self._statuses: dict[int, PartitionStatus] = {}
        # What was counted stays counted, so this only grows.
        self._counted_until: dict[int, int] = {}
        self._chains: dict[int, str] = {}

    def apply(self, status: PartitionStatus) -> None:
        """Take a heartbeat."""
        number = status.partition
        if status.state == "live":
            self._counted_until[number] = max(_counted_until(status), self._counted_until.get(number, 0))
        known = self._statuses.get(number)
        if known is not None and known.at > status.at:
            return
        self._statuses[number] = status
        # A new log counts once its owner has told all of it.
        if status.state == "live" or number not in self._chains:
            self._chains[number] = status.chain

    def statuses(self) -> list[PartitionStatus]:
        """The latest heartbeat of each partition. Any thread may call."""
        return list(self._statuses.values())

    def chains(self) -> dict[int, str]:
        """The log that each partition is read from."""
        return dict(self._chains)

    def as_of(self) -> int | None:
        """Everything accepted before this instant is counted; None until every partition was live once."""
        instants = [self._counted_until.get(number, 0) for number in self._numbers()]
        return min(instants, default=0) or None

    def are_live(self) -> bool:
        """Whether every partition has an owner that knows all of its past, and none is silent beside the others."""
        statuses = self._all()
        newest = max((status.at for status in statuses if status), default=0)
        return bool(statuses) and all(
            status and status.state == "live" and newest - status.at <= _APART_MILLIS for status in statuses
        )

    def are_caught_up(self) -> bool:
        """Whether every partition was counted to its end when it was last heard of, or a moment before."""
        return all(
            status and status.at - self._counted_until.get(status.partition, 0) <= BEHIND_MILLIS
            for status in self._all()
        )

    def state(self, now: int) -> State:
        """The worst that holds of any partition."""
        statuses = self._all()
        if not statuses or any(status is None or now - status.at > STALE_MILLIS for status in statuses):
            return "stale"
        is_live = all(status and status.state == "live" for status in statuses)
        return "live" if is_live and self.are_caught_up() else "rebuilding"

    def not_ready(self, now: int) -> list[str]:
        """Why the system is not ready, one line a reason. Lag alone is none."""
        if not self._numbers():
            return ["no worker has reported yet"]
        return [reason for number in self._numbers() if (reason := self._not_ready(number, now))]

    def _not_ready(self, number: int, now: int) -> str | None:
        status = self._statuses.get(number)
        if status is None:
            return f"partition {number} has no owner yet"
        if now - status.at > UNREADY_MILLIS:
            return f"partition {number} has had no owner for {(now - status.at) // 1000} s"
        if now - status.advanced_at > UNREADY_MILLIS:
            return f"partition {number} has not advanced for {(now - status.advanced_at) // 1000} s ({status.worker})"
        if status.flush_error is not None:
            # A worker says so only after half a minute of failures.
            return f"partition {number} cannot be flushed: {' '.join(status.flush_error.split())}"
        return None

    def _all(self) -> list[PartitionStatus | None]:
        return [self._statuses.get(number) for number in self._numbers()]

    def _numbers(self) -> range | list[int]:
        return range(expected) if (expected := self._expected()) else sorted(self._statuses)


def _counted_until(status: PartitionStatus) -> int:
    # What arrived after the broker was asked for its end is unknown to the heartbeat.
    at_end = status.end_at if status.next >= status.end else 0
    return max(at_end, status.last_timestamp)
