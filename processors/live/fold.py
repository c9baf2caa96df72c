"""Live state of one partition: a pure fold of accepted rows into slots of ten seconds."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from schemas.live import SLOT_SECONDS, WINDOW_SECONDS, ProjectTotals, SlotState
from storage.lake.columns import (
    Chunk,
    LiveGroup,
    live_columns,
    live_groups,
    live_groups_by_partition,
    project_totals,
    project_totals_by_partition,
)
from storage.sketches import LIVE_LG_K, People

# A slot lists at most this many of each; what does not fit is counted under OTHER.
MOST_VALUES = 500
OTHER = "(other)"
# Events dated into the future wait in their slots for a day; beyond it they show in the lake only.
FUTURE_SECONDS = 86_400


@dataclass(slots=True)
class Slot:
    """One project's ten seconds."""

    people: People = field(default_factory=lambda: People(LIVE_LG_K))
    events: Counter[str] = field(default_factory=Counter)
    pageviews: int = 0
    paths: Counter[str] = field(default_factory=Counter)
    referrers: Counter[str] = field(default_factory=Counter)
    countries: Counter[str] = field(default_factory=Counter)

    def add(self, group: LiveGroup) -> None:
        """Add what a chunk brought to this slot."""
        self.people.add(group.ids)
        self.pageviews += group.pageviews
        _add(self.events, group.events)
        if group.paths:
            _add(self.paths, group.paths)
        if group.referrers:
            _add(self.referrers, group.referrers)
        if group.countries:
            _add(self.countries, group.countries)


def _add(counter: Counter[str], counts: dict[str, int]) -> None:
    for value, number in counts.items():
        counter[value if value in counter or len(counter) < MOST_VALUES else OTHER] += number


class LiveFold:
    """Slots and totals of one partition, and which of them changed since they were last taken."""

    def __init__(self, chain: str, partition: int) -> None:
        self.chain = chain
        self.partition = partition
        self.is_complete = False
        self._slots: dict[tuple[int, int], Slot] = {}
        self._totals: dict[int, list[int]] = {}
        self._changed: set[tuple[int, int]] = set()
        self._changed_totals: set[int] = set()

    def add_rows(self, chunk: Chunk, now: int) -> None:
        """Fold rows of this partition; `now` is unix seconds."""
        self.add_past(live_groups(chunk, SLOT_SECONDS, first_slot(now), now + FUTURE_SECONDS), project_totals(chunk))

    def add_past(self, groups: Iterable[LiveGroup], totals: Iterable[tuple[int, int, int]]) -> None:
        """Fold groups made elsewhere: additions commute, so past and tail may come in any order."""
        for group in groups:
            key = (group.project, group.slot)
            self._slots.setdefault(key, Slot()).add(group)
            self._changed.add(key)
        for project, events, pageviews in totals:
            total = self._totals.setdefault(project, [0, 0])
            total[0] += events
            total[1] += pageviews
            self._changed_totals.add(project)

    def expire(self, now: int) -> None:
        """Drop slots that no answer reaches any more."""
        oldest = first_slot(now)
        for key in [key for key in self._slots if key[1] < oldest]:
            del self._slots[key]
            self._changed.discard(key)

    def take_changed(self, position: int) -> Iterator[SlotState | ProjectTotals]:
        """The state of everything that changed, as of `position`; each is handed out once."""
        for project, at in sorted(self._changed):
            yield self._state(project, at, position)
        for project in sorted(self._changed_totals):
            events, pageviews = self._totals[project]
            yield ProjectTotals(self.chain, self.partition, position, project, events, pageviews)
        self._changed.clear()
        self._changed_totals.clear()

    def mark_all_changed(self) -> None:
        """Hand out everything once more: a zombie's late value must be overwritten."""
        self._changed.update(self._slots)
        self._changed_totals.update(self._totals)

    def _state(self, project: int, at: int, position: int) -> SlotState:
        slot = self._slots[project, at]
        return SlotState(
            chain=self.chain,
            partition=self.partition,
            next=position,
            project=project,
            slot=at,
            events=dict(slot.events),
            pageviews=slot.pageviews,
            people=slot.people.to_bytes(),
            paths=dict(slot.paths),
            referrers=dict(slot.referrers),
            countries=dict(slot.countries),
        )


def fold_rows(folds: Mapping[int, LiveFold], chunks: Sequence[Chunk], now: int) -> None:
    """`add_rows` for rows of many partitions, each into its own fold if there is one."""
    rows = live_columns(chunks)
    groups = live_groups_by_partition(rows, SLOT_SECONDS, first_slot(now), now + FUTURE_SECONDS)
    for partition, totals in project_totals_by_partition(rows).items():
        if (fold := folds.get(partition)) is not None:
            fold.add_past(groups.get(partition, ()), totals)


def first_slot(now: int) -> int:
    """The oldest slot that is kept at `now` (unix seconds)."""
    return (now - WINDOW_SECONDS) // SLOT_SECONDS * SLOT_SECONDS
