"""What the workers' heartbeats say about the log, as answers need it. Pure."""

from collections.abc import Iterable
from typing import Protocol

from schemas.live import PartitionStatus
from storage.query.freshness import LogEnd, LogState


class LogView(Protocol):
    """Where the heartbeats come from; never blocks."""

    def statuses(self) -> Iterable[PartitionStatus]:
        """The last heartbeat of each partition; none where no worker was heard."""


class SilentLog:
    """A LogView that never heard of a worker: answers are right, rollups and watermark unused."""

    def statuses(self) -> Iterable[PartitionStatus]:
        return ()


def log_state(statuses: Iterable[PartitionStatus], partitions: int) -> LogState | None:
    """The state of the chain heard of last; `partitions` is how many the topic has at least."""
    heard = list(statuses)
    if not heard:
        return None
    chain = max(heard, key=lambda status: status.at).chain
    ends = {status.partition: LogEnd(status.end, status.end_at) for status in heard if status.chain == chain}
    return LogState(chain, max(partitions, 1 + max(ends)), ends)
