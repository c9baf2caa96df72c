"""What is accepted but not yet in the lake, and when it must go there. Pure."""

from dataclasses import dataclass, field

from processors.partition import Accepted, RecordCount
from schemas.deadletters import DeadLetter
from schemas.kinds import kind_of
from storage.lake.columns import Chunk, dates_of, events_table


@dataclass(frozen=True, slots=True)
class FlushPolicy:
    """When a batch is ready. More rows mean fewer, larger files; less age means fresher answers."""

    rows: int
    bytes: int
    age_seconds: float
    dates: int


@dataclass(slots=True)
class Batch:
    """Chunks of columns, dead letters and record counts, of all partitions of a worker."""

    chunks: list[Chunk] = field(default_factory=list)
    rejects: list[DeadLetter] = field(default_factory=list)
    counts: list[RecordCount] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    dates: set[int] = field(default_factory=set)
    opened_at: float | None = None

    def add(self, accepted: Accepted, size: int, now: float) -> Chunk | None:
        """Append records of one partition, `size` bytes of the log; returns the columns of their rows, if any."""
        if self.opened_at is None:
            self.opened_at = now
        events = accepted.events
        self.rejects += accepted.rejects
        self.counts += accepted.counts
        self.bytes += size
        if len(events.dropped) == len(events):
            return None
        chunk = events_table(events, kind_of)
        self.chunks.append(chunk)
        self.rows += len(chunk)
        self.dates |= dates_of(chunk)
        return chunk

    def is_ready(self, policy: FlushPolicy, now: float) -> bool:
        """Whether it must be flushed; an empty batch never is. `now` is monotonic seconds."""
        if self.opened_at is None:
            return False
        return (
            self.rows >= policy.rows
            or self.bytes >= policy.bytes
            or len(self.dates) >= policy.dates
            or now - self.opened_at >= policy.age_seconds
        )

    @property
    def partitions(self) -> set[int]:
        return {count.partition for count in self.counts}
