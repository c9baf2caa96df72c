"""Live messages for tests, and a source that gives them on demand."""

from collections.abc import Callable, Iterable, Sequence

from api.live.consumer import Deliver
from schemas.live import LiveMessage, PartitionStatus, ProjectTotals, SlotState
from storage.sketches import LIVE_LG_K, People

CHAIN = "cluster/topic"


def sketch(ids: Iterable[str]) -> bytes:
    """Some people."""
    people = People(LIVE_LG_K)
    people.add(ids)
    return people.to_bytes()


def slot(
    at: int,
    *,
    position: int = 1,
    events: dict[str, int] | None = None,
    ids: Iterable[str] = (),
    project: int = 1,
    partition: int = 0,
    chain: str = CHAIN,
    pageviews: int = 0,
    paths: dict[str, int] | None = None,
    referrers: dict[str, int] | None = None,
    countries: dict[str, int] | None = None,
) -> SlotState:
    return SlotState(
        chain=chain,
        partition=partition,
        next=position,
        project=project,
        slot=at // 10 * 10,
        events={"click": 1} if events is None else events,
        pageviews=pageviews,
        people=sketch(ids),
        paths=paths or {},
        referrers=referrers or {},
        countries=countries or {},
    )


def totals(
    events: int, pageviews: int = 0, *, position: int = 1, partition: int = 0, chain: str = CHAIN
) -> ProjectTotals:
    return ProjectTotals(chain, partition, position, 1, events, pageviews)


def status(
    at: int,
    *,
    partition: int = 0,
    position: int = 1,
    end: int | None = None,
    state: str = "live",
    advanced_at: int | None = None,
    last_timestamp: int = 0,
    flush_error: str | None = None,
    chain: str = CHAIN,
) -> PartitionStatus:
    """A heartbeat at unix ms `at`; without `end` it stands at the end."""
    return PartitionStatus(
        chain=chain,
        partition=partition,
        next=position,
        durable=position,
        end=position if end is None else end,
        state="rebuilding" if state == "rebuilding" else "live",
        at=at,
        advanced_at=at if advanced_at is None else advanced_at,
        last_timestamp=last_timestamp,
        worker="worker-0",
        flush_error=flush_error,
        end_at=at,
    )


class FakeSource:
    """A LiveSource whose thread is the test's own."""

    def __init__(self) -> None:
        self._deliver: Deliver | None = None
        self._on_end: Callable[[], None] | None = None
        self.is_stopped = False

    def start(self, deliver: Deliver, on_end: Callable[[], None]) -> None:
        self._deliver, self._on_end = deliver, on_end

    def stop(self) -> None:
        self.is_stopped = True

    def give(self, *messages: LiveMessage) -> None:
        """Returns once the view has them; not from the event loop."""
        assert self._deliver is not None
        batch: Sequence[LiveMessage] = messages
        self._deliver(batch)

    def end(self) -> None:
        """All that was there has been given."""
        assert self._on_end is not None
        self._on_end()
