"""What is shown is whole: workers that die, come back, replay and lag in any order never make it a part."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from api.live.exposition import Exposition
from api.live.view import Figures, Freshness, LiveView
from schemas.instants import parse_instant
from schemas.live import LiveMessage, PartitionStatus
from tests.api.live.messages import CHAIN, slot, totals

START = 1_800_000_000_000
PARTITIONS = 3
WORD = [f"of {number}" for number in range(PARTITIONS)]


@dataclass(slots=True)
class Owner:
    """A worker's share: what it has taken of one partition, and what it has told of it."""

    next: int = 0
    told: int = 0
    durable: int = 0
    end: int = 0
    end_at: int = 0
    is_alive: bool = True
    is_complete: bool = True


@dataclass(slots=True)
class Partition:
    """Its log (instants of events, in order) and its owner."""

    number: int
    log: list[int] = field(default_factory=list)
    owner: Owner = field(default_factory=Owner)

    def counted(self, before: int) -> Counter[int]:
        """Events by slot of the log below an offset."""
        return Counter(at // 10_000 * 10 for at in self.log[:before])

    def slots(self) -> list[LiveMessage]:
        """What a worker tells of the present: its changed slots and totals, as of its position."""
        owner = self.owner
        counts, told = self.counted(owner.next), self.counted(owner.told)
        messages: list[LiveMessage] = [
            slot(at, position=owner.next, partition=self.number, events={WORD[self.number]: number})
            for at, number in counts.items()
            if number != told[at]
        ]
        if owner.next > owner.told:
            messages.append(totals(owner.next, position=owner.next, partition=self.number))
        return messages

    def status(self, now: int) -> PartitionStatus:
        owner = self.owner
        return PartitionStatus(
            chain=CHAIN,
            partition=self.number,
            next=owner.next,
            durable=owner.durable,
            end=max(owner.end, owner.next),
            state="live" if owner.is_complete else "rebuilding",
            at=now,
            advanced_at=now,
            last_timestamp=self.log[owner.durable - 1] if owner.durable else 0,
            worker="worker",
            end_at=owner.end_at,
        )


class Life(RuleBasedStateMachine):
    """Partitions with owners that live and die, and one view that hears of them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.partitions = [Partition(number) for number in range(PARTITIONS)]
        self.view = LiveView(lambda: PARTITIONS)
        self.view.is_complete = True
        self.exposition = Exposition(self.view)
        self.sent: list[LiveMessage] = []
        self.before: tuple[Freshness, Figures] | None = None
        self.counts = Counter[str]()
        self.page_total = 0.0

    def send(self, messages: list[LiveMessage]) -> None:
        self.sent += messages
        for message in messages:
            self.view.apply(message)
            self.what_is_shown_is_whole()

    @rule(millis=st.sampled_from([30, 900, 4000, 12_000]))
    def time_passes(self, millis: int) -> None:
        self.now += millis

    @rule(number=st.integers(0, PARTITIONS - 1), count=st.integers(1, 3))
    def events_come(self, number: int, count: int) -> None:
        self.partitions[number].log += [self.now] * count
        self.now += 1

    @rule(number=st.integers(0, PARTITIONS - 1), most=st.integers(1, 9), heard=st.booleans(), asks=st.booleans())
    def owner_works(self, number: int, most: int, heard: bool, asks: bool) -> None:
        one = self.partitions[number]
        owner = one.owner
        if not owner.is_alive:
            return
        if asks:
            owner.end, owner.end_at = len(one.log), self.now
            self.now += 1
        owner.next = min(owner.next + most, len(one.log))
        if owner.is_complete:
            self.send(one.slots())
            owner.told = owner.next
        if heard:
            self.send([one.status(self.now)])
        self.now += 1

    @rule()
    def all_work(self) -> None:
        for number in range(PARTITIONS):
            self.owner_works(number, 1000, True, True)

    @rule(slow=st.integers(0, PARTITIONS - 1), rounds=st.integers(1, 5))
    def one_is_slow(self, slow: int, rounds: int) -> None:
        """Events come faster than one owner takes them."""
        for _ in range(rounds):
            for number in range(PARTITIONS):
                self.events_come(number, 2)
            for number in range(PARTITIONS):
                self.owner_works(number, 1 if number == slow else 1000, True, True)
            self.owner_flushes(slow)
            self.now += 4000

    @rule(number=st.integers(0, PARTITIONS - 1))
    def owner_flushes(self, number: int) -> None:
        owner = self.partitions[number].owner
        if owner.is_alive:
            owner.durable = owner.next

    @rule(number=st.integers(0, PARTITIONS - 1), takes=st.integers(0, 3), tells=st.integers(0, 2))
    def owner_dies(self, number: int, takes: int, tells: int) -> None:
        """In the midst of telling, perhaps."""
        one = self.partitions[number]
        if one.owner.is_alive and one.owner.is_complete:
            one.owner.next = min(one.owner.next + takes, len(one.log))
            self.send(one.slots()[:tells])
        one.owner.is_alive = False

    @rule(number=st.integers(0, PARTITIONS - 1), is_heard=st.booleans())
    def owner_comes(self, number: int, is_heard: bool) -> None:
        one = self.partitions[number]
        if not one.owner.is_alive:
            durable = one.owner.durable
            one.owner = Owner(next=durable, durable=durable, is_complete=False)
            if is_heard:
                self.send([one.status(self.now)])

    @rule(number=st.integers(0, PARTITIONS - 1))
    def owner_has_read_the_lake(self, number: int) -> None:
        self.partitions[number].owner.is_complete = True

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def old_messages_come_again(self, data: st.DataObject) -> None:
        for place in data.draw(st.lists(st.integers(0, len(self.sent) - 1), max_size=5)):
            self.view.apply(self.sent[place])

    @rule()
    def old_slots_expire(self) -> None:
        self.view.expire(self.now)

    @invariant()
    def what_is_shown_is_whole(self) -> None:
        freshness, figures = self.view.freshness(self.now), self.view.figures(1, self.now, 60)
        shown = Counter({row.name: row.count for row in figures.top_events})
        assert figures.events == shown.total()
        self._page()
        if freshness.as_of is None:
            assert (shown.total(), freshness.state == "live") == (0, False)
            return
        as_of = parse_instant(freshness.as_of)
        has_moved = self.before is None or freshness.as_of != self.before[0].as_of
        for one, word in zip(self.partitions, WORD, strict=True):
            counted = sum(at < as_of for at in one.log)
            assert counted <= shown[word] <= len(one.log), "complete up to asOf"
            assert shown[word] >= self.counts[word], "and what was shown stays"
            if has_moved and freshness.state != "live":
                assert shown[word] == sum(at <= as_of for at in one.log), "behind, it moves by slots that are whole"
        if self.before is not None and self.before[0].as_of is not None:
            assert as_of >= parse_instant(self.before[0].as_of), "asOf never goes back"
            if not has_moved and freshness.state == self.before[0].state != "live":
                assert figures == self.before[1], "and only what moves it changes the figures"
        self.before, self.counts = (freshness, figures), shown

    def _page(self) -> None:
        page = self.exposition.page(1, self.now).decode()
        lines = [line for line in page.splitlines() if line.startswith("streamgauge_project_events_total")]
        for line in lines:
            total = float(line.split()[-1])
            assert self.page_total <= total <= sum(len(one.log) for one in self.partitions)
            self.page_total = total

    def teardown(self) -> None:
        """When all is well again, the figures are the truth."""
        for number, one in enumerate(self.partitions):
            self.owner_comes(number, False)
            one.owner.is_complete = True
        self.all_work()
        self.what_is_shown_is_whole()
        assert self.view.freshness(self.now).state == "live"
        last = self.now // 10_000 * 10
        for one, word in zip(self.partitions, WORD, strict=True):
            assert self.counts[word] == sum(at // 10_000 * 10 <= last for at in one.log)
        assert self.page_total == sum(len(one.log) for one in self.partitions)


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    # A life of forty steps takes minutes to shrink, and reads well as it is.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
