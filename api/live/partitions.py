"""What the owners of the partitions say of themselves: whose chain holds, how fresh, ready or not."""

from typing import Literal

from schemas.live import PartitionStatus

State = Literal["live", "rebuilding", "stale"]

# Heartbeats come once a second. Shorter, and a garbage collection looks like a dead worker.
STALE_MILLIS = 5_000
# A take-over after kill -9 needs a session time-out and a load; shorter, and every one would be an outage.
UNREADY_MILLIS = 30_000


class Partitions:
    """The latest heartbeat of each partition; `now` is unix milliseconds throughout.

    The latest is the one with the greatest `at`, not the greatest position: a new owner begins where the lake ends,
    behind what the dead one had read.
    """

    def __init__(self) -> None:
        # Partitions of the events topic; 0 while unknown, and then those heard of are all.
        self.expected = 0
        self._statuses: dict[int, PartitionStatus] = {}
        self._live_at: dict[int, int] = {}
        self._failing_since: dict[int, int] = {}

    def apply(self, status: PartitionStatus) -> bool:
        """Take a heartbeat; whether the partition's chain is another one now."""
        number = status.partition
        if status.state == "live":
            self._live_at[number] = max(status.at, self._live_at.get(number, 0))
        known = self._statuses.get(number)
        if known is not None and known.at > status.at:
            return False
        if status.flush_error is None:
            self._failing_since.pop(number, None)
        else:
            self._failing_since.setdefault(number, status.at)
        self._statuses[number] = status
        return known is None or known.chain != status.chain

    def chain(self, partition: int) -> str | None:
        """The log that the partition is read from."""
        status = self._statuses.get(partition)
        return None if status is None else status.chain

    def as_of(self) -> int | None:
        """The instant up to which the figures are complete; None until every partition was live once."""
        instants = [self._live_at.get(number) for number in self._numbers()]
        known = [instant for instant in instants if instant is not None]
        return min(known) if known and len(known) == len(instants) else None

    def state(self, now: int) -> State:
        """The worst that holds of any partition."""
        statuses = [self._statuses.get(number) for number in self._numbers()]
        if not statuses or any(status is None or now - status.at > STALE_MILLIS for status in statuses):
            return "stale"
        return "live" if all(status and status.state == "live" for status in statuses) else "rebuilding"

    def stored_until(self) -> int | None:
        """Everything accepted before this instant is in the lake; None while a partition was never heard of."""
        return self._least_timestamp(is_stored=True)

    def counted_until(self) -> int | None:
        """Everything accepted before this instant is in the live figures; None likewise."""
        return self._least_timestamp(is_stored=False)

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
        since = self._failing_since.get(number)
        if since is not None and now - since > UNREADY_MILLIS:
            reason = " ".join((status.flush_error or "").split())
            return f"partition {number} cannot be flushed for {(now - since) // 1000} s: {reason}"
        return None

    def _least_timestamp(self, *, is_stored: bool) -> int | None:
        instants = []
        for number in self._numbers():
            status = self._statuses.get(number)
            if status is None:
                return None
            reached = status.durable if is_stored else status.next
            # What arrived after the heartbeat is unknown to it, so `at` is as much of "now" as can be promised.
            instants.append(status.at if reached >= status.end else status.last_timestamp)
        return min(instants, default=None)

    def _numbers(self) -> range | list[int]:
        return range(self.expected) if self.expected else sorted(self._statuses)
