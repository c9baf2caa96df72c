"""Slots of one project merged over partitions and time: counts add, people merge only as sketches."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from schemas.live import SLOT_SECONDS, SlotState
from storage.sketches import LIVE_LG_K, PeopleUnion

MINUTE_SECONDS = 60


@dataclass(slots=True)
class Sum:
    """What one or more slots say together."""

    events: dict[str, int] = field(default_factory=dict)
    pageviews: int = 0
    paths: dict[str, int] = field(default_factory=dict)
    referrers: dict[str, int] = field(default_factory=dict)
    countries: dict[str, int] = field(default_factory=dict)
    sketches: list[bytes] = field(default_factory=list)
    _people: int | None = None

    def add(self, other: "Sum | SlotState") -> None:
        """Add what is known of other slots."""
        _add(self.events, other.events)
        self.pageviews += other.pageviews
        _add(self.paths, other.paths)
        _add(self.referrers, other.referrers)
        _add(self.countries, other.countries)
        if isinstance(other, Sum):
            self.sketches += other.sketches
        else:
            self.sketches.append(other.people)

    def with_one_sketch(self) -> "Sum":
        """The same, its people merged once and for all."""
        if len(self.sketches) > 1:
            self.sketches = [united(self.sketches).to_bytes()]
        return self

    @property
    def event_count(self) -> int:
        return sum(self.events.values())

    @property
    def people(self) -> int:
        """How many people these slots saw; to be asked when nothing will be added any more."""
        if self._people is None:
            self._people = united(self.sketches).estimate
        return self._people


def _add(counts: dict[str, int], further: dict[str, int]) -> None:
    for value, number in further.items():
        counts[value] = counts.get(value, 0) + number


def united(sketches: Iterable[bytes]) -> PeopleUnion:
    """The people of many sketches."""
    union = PeopleUnion(LIVE_LG_K)
    for sketch in sketches:
        union.merge(sketch)
    return union


def _sketches(sums: Iterable[Sum]) -> Iterator[bytes]:
    return (sketch for one in sums for sketch in one.sketches)


def top(counts: dict[str, int], most: int) -> list[tuple[str, int]]:
    """The greatest counts; equals by name, so that an answer does not change by itself."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]


def slot_at(seconds: int) -> int:
    return seconds // SLOT_SECONDS * SLOT_SECONDS


def minute_at(seconds: int) -> int:
    return seconds // MINUTE_SECONDS * MINUTE_SECONDS


class ProjectSlots:
    """The latest state of each slot of one project, by chain and partition, with merged slots and minutes kept."""

    def __init__(self, is_current: Callable[[str, int], bool], next_version: Callable[[], int]) -> None:
        self.version = next_version()
        self._is_current = is_current
        self._next_version = next_version
        self._states: dict[int, dict[tuple[str, int], SlotState]] = {}
        self._merged: dict[int, Sum] = {}
        self._minutes: dict[int, Sum] = {}
        # By length in seconds, since windows move: the start of a run of minutes, and its people.
        self._runs: dict[int, tuple[int, bytes]] = {}

    def apply(self, state: SlotState) -> None:
        """Keep a state unless one at a later position is known."""
        states = self._states.setdefault(state.slot, {})
        place = (state.chain, state.partition)
        known = states.get(place)
        if known is not None and known.next >= state.next:
            return
        states[place] = state
        self._forget_merged(state.slot)

    def drop(self, slot: int) -> None:
        """Forget a slot that no answer reaches any more."""
        if self._states.pop(slot, None) is not None:
            self._forget_merged(slot)

    def forget_all_merged(self) -> None:
        """The chain of a partition changed: other states count now."""
        self.version = self._next_version()
        self._merged.clear()
        self._minutes.clear()
        self._runs.clear()

    def __bool__(self) -> bool:
        return bool(self._states)

    def minute(self, start: int) -> Sum:
        """All slots of one minute."""
        found = self._minutes.get(start)
        if found is None:
            found = Sum()
            for part in self.between(start, start + MINUTE_SECONDS - SLOT_SECONDS, by_minute=False):
                found.add(part)
            # An empty minute has no slot that would drop it later, so it is not kept.
            if found.sketches:
                self._minutes[start] = found.with_one_sketch()
        return found

    def people(self, first: int, last: int) -> int:
        """How many people the slots from `first` to `last` saw, both included."""
        start, end = minute_at(first + MINUTE_SECONDS - SLOT_SECONDS), minute_at(last + SLOT_SECONDS)
        if start >= end:
            return united(_sketches(self.between(first, last))).estimate
        union = united(_sketches(self.between(first, start - SLOT_SECONDS)))
        union.merge(self._run(start, end))
        for sketch in _sketches(self.between(end, last)):
            union.merge(sketch)
        return union.estimate

    def between(self, first: int, last: int, *, by_minute: bool = True) -> Iterator[Sum]:
        """Sums that together are the slots from `first` to `last`, both included."""
        at = first
        while at <= last:
            if by_minute and at % MINUTE_SECONDS == 0 and at + MINUTE_SECONDS - SLOT_SECONDS <= last:
                yield self.minute(at)
                at += MINUTE_SECONDS
            else:
                if at in self._states:
                    yield self._slot(at)
                at += SLOT_SECONDS

    def _run(self, start: int, end: int) -> bytes:
        """The people of whole minutes, which seldom change once they are over."""
        known = self._runs.get(end - start)
        if known is None or known[0] != start:
            minutes = (self.minute(at) for at in range(start, end, MINUTE_SECONDS))
            known = self._runs[end - start] = (start, united(_sketches(minutes)).to_bytes())
        return known[1]

    def _slot(self, at: int) -> Sum:
        found = self._merged.get(at)
        if found is None:
            found = Sum()
            for (chain, partition), state in self._states[at].items():
                if self._is_current(chain, partition):
                    found.add(state)
            self._merged[at] = found.with_one_sketch()
        return found

    def _forget_merged(self, slot: int) -> None:
        self.version = self._next_version()
        self._merged.pop(slot, None)
        minute = minute_at(slot)
        self._minutes.pop(minute, None)
        for length, (start, _) in list(self._runs.items()):
            if start <= minute < start + length:
                del self._runs[length]
