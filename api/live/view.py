"""The merged view of the live topic: what every partition knows of every project, as of now."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from msgspec import Struct

from api.live.partitions import BEHIND_MILLIS, STALE_MILLIS, Partitions, State
from api.live.slots import MINUTE_SECONDS, ProjectSlots, Sum, minute_at, slot_at, top
from schemas.instants import format_instant, format_millis
from schemas.live import WINDOW_SECONDS, LiveMessage, PartitionStatus, ProjectTotals, Refusal, SlotState
from storage.sketches import LIVE_LG_K, standard_error

DEFAULT_MINUTES = 5
MAX_MINUTES = 60
_CHART_MINUTES = 30
_ACTIVE_SECONDS = {"30s": 30, "5m": 300, "30m": 1800}
_TOP = 10
ERROR = round(standard_error(LIVE_LG_K), 4)


class Count(Struct, frozen=True):
    """One row of a list of the most frequent."""

    name: str
    count: int


class Minute(Struct, frozen=True):
    """One point of the chart."""

    minute: str
    events: int
    pageviews: int
    users: int


class Figures(Struct, frozen=True, rename="camel"):
    """What the slots of a project say together. Windows are whole slots: one of 30 s reaches back 30 to 40."""

    active_users: dict[str, int]
    events: int
    pageviews: int
    per_minute: list[Minute]
    top_events: list[Count]
    top_paths: list[Count]
    top_referrers: list[Count]
    top_countries: list[Count]


class Freshness(Struct, frozen=True, rename="camel"):
    """How far to believe the figures: complete up to `as_of`, people within `error` (one standard error)."""

    as_of: str | None
    error: float
    state: State
    age_seconds: float | None


@dataclass(frozen=True, slots=True)
class Totals:
    """Events and pageviews of a project since its first."""

    events: int
    pageviews: int


class LiveView:
    """Messages in any order, any number of times, give the same view. For one thread; `now` is unix milliseconds.

    What is shown moves only while every partition tells of itself; else messages wait, and the last complete figures
    stay. What a living worker counted beside a dead one would be a part of the truth that nobody can name.
    """

    def __init__(self, partitions: Callable[[], int] = lambda: 0) -> None:
        """`partitions` tells how many the events topic has, 0 while that is unknown."""
        self.partitions = Partitions(partitions)
        # Whether the topic was read to its end once; before that the counts are partial, and nothing is shown.
        self.is_complete = False
        self._projects: dict[int, ProjectSlots] = {}
        self._totals: dict[int, dict[tuple[str, int], ProjectTotals]] = {}
        self._by_slot: dict[int, set[int]] = {}
        self._oldest = 0
        # Never the same twice, though a project be dropped and come back.
        self._next_version = itertools.count(1).__next__
        # What is shown: complete up to when, and of which logs.
        self._as_of: int | None = None
        self._chains: dict[int, str] = {}
        self._is_held = False
        # The newest of each while it is held, so no more than what is shown; by chain, partition, project and slot.
        self._waiting: dict[tuple[str, int, int, int | None], SlotState | ProjectTotals] = {}

    def apply(self, message: LiveMessage) -> None:
        """Take one message of the live topic."""
        if isinstance(message, PartitionStatus):
            self.partitions.apply(message)
            self._move()
        elif isinstance(message, Refusal):
            return  # for `tail`; it counts nothing
        elif self._is_held and self.is_complete:
            slot = message.slot if isinstance(message, SlotState) else None
            place = (message.chain, message.partition, message.project, slot)
            if place not in self._waiting or self._waiting[place].next < message.next:
                self._waiting[place] = message
        else:
            self._take(message)

    def expire(self, now: int) -> None:
        """Drop slots that no answer reaches any more."""
        self._oldest = slot_at(self.instant(now) // 1000 - WINDOW_SECONDS)
        for slot in [slot for slot in self._by_slot if slot < self._oldest]:
            for number in self._by_slot.pop(slot):
                project = self._projects[number]
                project.drop(slot)
                if not project:
                    del self._projects[number]
        oldest = slot_at(now // 1000 - WINDOW_SECONDS)
        for place in [place for place in self._waiting if place[3] is not None and place[3] < oldest]:
            del self._waiting[place]

    def statuses(self) -> list[PartitionStatus]:
        """The latest heartbeat of each partition. Any thread may call."""
        return self.partitions.statuses()

    def version(self, project: int) -> int:
        """Grows with every change of a project's slots."""
        slots = self._projects.get(project)
        return 0 if slots is None else slots.version

    def instant(self, now: int) -> int:
        """Where windows end: now, or the last instant up to which every partition is counted."""
        return now if self._as_of is None else min(now, self._as_of)

    def figures(self, project: int, now: int, minutes: int = DEFAULT_MINUTES) -> Figures:
        """The figures of a project; `minutes` is the window of counts and lists. All zero before any are complete."""
        known = None if self._as_of is None else self._projects.get(project)
        slots = known or self._new_slots()
        seconds = self.instant(now) // 1000
        window = Sum()
        last = slot_at(seconds)
        for part in slots.between(slot_at(seconds - minutes * MINUTE_SECONDS), last):
            window.add(part)
        return Figures(
            active_users={name: slots.people(slot_at(seconds - span), last) for name, span in _ACTIVE_SECONDS.items()},
            events=window.event_count,
            pageviews=window.pageviews,
            per_minute=_chart(slots, seconds, max(minutes, _CHART_MINUTES)),
            top_events=_counts(window.events),
            top_paths=_counts(window.paths),
            top_referrers=_counts(window.referrers),
            top_countries=_counts(window.countries),
        )

    def freshness(self, now: int) -> Freshness:
        """How far the figures of any project can be believed."""
        as_of = self._as_of
        state = self.partitions.state(now)
        if state == "live" and (as_of is None or now - as_of > STALE_MILLIS + BEHIND_MILLIS):
            # The partitions are well again, and what waits is not shown yet.
            state = "rebuilding"
        if state != "live":
            # Who was told so must not see the figures move until all are heard again.
            self._is_held = True
        return Freshness(
            as_of=None if as_of is None else format_millis(as_of),
            error=ERROR,
            state=state,
            age_seconds=None if as_of is None else max(now - as_of, 0) / 1000,
        )

    def totals(self, project: int) -> Totals | None:
        """All that the current logs brought of a project; None before any figures are complete."""
        if self._as_of is None:
            return None
        current = [
            totals
            for (chain, partition), totals in self._totals.get(project, {}).items()
            if self._is_current(chain, partition)
        ]
        return Totals(sum(one.events for one in current), sum(one.pageviews for one in current))

    def _move(self) -> None:
        """Show what is known now, if that is whole."""
        as_of = self.partitions.as_of()
        self._is_held = as_of is None or not (self.partitions.are_live() and self.partitions.are_caught_up())
        if self._is_held and self.is_complete:
            # Of a partition's present others know nothing; slots that were over when all were counted are whole.
            as_of = slot_at((as_of or 0) // 1000) * 1000 - 1
            if as_of <= (self._as_of or 0):
                return
        for message in self._waiting.values():
            self._take(message)
        self._waiting.clear()
        # Nobody was told anything before the topic was read; from then on it never goes back.
        self._as_of = max(as_of or 0, self._as_of or 0) if self.is_complete else as_of
        if (chains := self.partitions.chains()) != self._chains:
            self._chains = chains
            for project in self._projects.values():
                project.forget_all_merged()

    def _take(self, message: SlotState | ProjectTotals) -> None:
        if isinstance(message, SlotState):
            self._apply_slot(message)
        else:
            self._apply_totals(message)

    def _apply_slot(self, state: SlotState) -> None:
        if state.slot < self._oldest:
            return
        project = self._projects.get(state.project)
        if project is None:
            project = self._projects[state.project] = self._new_slots()
        project.apply(state)
        self._by_slot.setdefault(state.slot, set()).add(state.project)

    def _apply_totals(self, totals: ProjectTotals) -> None:
        known = self._totals.setdefault(totals.project, {})
        place = (totals.chain, totals.partition)
        if place not in known or known[place].next < totals.next:
            known[place] = totals

    def _new_slots(self) -> ProjectSlots:
        return ProjectSlots(self._is_current, self._next_version)

    def _is_current(self, chain: str, partition: int) -> bool:
        return self._chains.get(partition) == chain


def partitions_ready(view: LiveView, now: int) -> list[str]:
    """Why the workers are not ready, one line a reason; empty if they are."""
    if not view.is_complete:
        return ["live counters are not read yet"]
    return view.partitions.not_ready(now)


def _chart(slots: ProjectSlots, seconds: int, minutes: int) -> list[Minute]:
    last = minute_at(seconds)
    # Of the minute that is not over yet, only what is past: events dated ahead wait for their time.
    current = Sum()
    for part in slots.between(last, slot_at(seconds)):
        current.add(part)
    starts = range(last - (minutes - 1) * MINUTE_SECONDS, last, MINUTE_SECONDS)
    return [*(_point(start, slots.minute(start)) for start in starts), _point(last, current)]


def _point(start: int, minute: Sum) -> Minute:
    return Minute(_label(start), minute.event_count, minute.pageviews, minute.people)


@lru_cache(2 * MAX_MINUTES)
def _label(start: int) -> str:
    return format_instant(start * 1000)


def _counts(counts: dict[str, int]) -> list[Count]:
    return [Count(name, number) for name, number in top(counts, _TOP)]
