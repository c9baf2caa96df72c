"""When files are merged and what is kept, decided from file lists alone; nothing is remembered between runs."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from storage.maintenance.files import LiveFile

MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class MergePolicy:
    """How many files may live, and for how long."""

    small_bytes: int = 32 * MEGABYTE  # larger files are left alone until the date is closed
    files_per_date: int = 50  # commits slow down with live files: 9 ms at 10, 171 ms at 1,000
    flushed_age: timedelta = timedelta(minutes=5)
    small_files: int = 200  # over all dates
    wide_dates: int = 64  # late data or a back-fill: a file for each date and flush
    wide_age: timedelta = timedelta(seconds=30)  # sooner, and each flush of a back-fill would be merged by itself
    wide_files: int = 2000
    closed_after: timedelta = timedelta(hours=1)  # after midnight UTC: late clients, waiting batches
    quiet: timedelta = timedelta(minutes=10)
    batch_bytes: int = 64 * MEGABYTE  # several small dates share one commit up to here
    batch_files: int = 1000


@dataclass(frozen=True, slots=True)
class Merge:
    """Files to be rewritten in one swap; a final one takes whole closed dates and deduplicates them."""

    files: tuple[LiveFile, ...]
    is_final: bool = False

    @property
    def dates(self) -> tuple[date, ...]:
        return tuple(sorted({file.date for file in self.files}))


def next_merge(files: Sequence[LiveFile], now: datetime, policy: MergePolicy) -> Merge | None:
    """The most urgent merge, if any is due."""
    dates = _by_date(files)
    closed = [day for day in sorted(dates) if _is_unsorted(day, dates[day], now, policy)]
    open_dates = {day: dates[day] for day in dates.keys() - set(closed)}  # what is sorted next is not merged before
    if due := _due_dates(open_dates, now, policy):
        return Merge(_batch((_small(dates[day], policy) for day in due), policy))
    if closed:
        return Merge(_batch((dates[day] for day in closed), policy, is_whole=True), is_final=True)
    return None


def _by_date(files: Iterable[LiveFile]) -> dict[date, list[LiveFile]]:
    dates: dict[date, list[LiveFile]] = defaultdict(list)
    for file in files:
        dates[file.date].append(file)
    return dates


def _small(files: Iterable[LiveFile], policy: MergePolicy) -> list[LiveFile]:
    return [file for file in files if file.size < policy.small_bytes]


def _due_dates(dates: dict[date, list[LiveFile]], now: datetime, policy: MergePolicy) -> list[date]:
    """Dates whose small files are merged now, most files first."""
    small = {day: _small(files, policy) for day, files in dates.items()}
    mergeable = {day: files for day, files in small.items() if len(files) > 1}
    is_wide = len(mergeable) > policy.wide_dates
    patience, bound = (policy.wide_age, policy.wide_files) if is_wide else (policy.flushed_age, policy.small_files)
    is_crowded = sum(map(len, mergeable.values())) > bound
    due = [
        day
        for day, files in mergeable.items()
        if is_crowded or len(files) > policy.files_per_date or _oldest_flush(files, now) <= now - patience
    ]
    return sorted(due, key=lambda day: (-len(mergeable[day]), day))


def _oldest_flush(files: Iterable[LiveFile], now: datetime) -> datetime:
    return min((file.written_at for file in files if file.origin == "flushed"), default=now)


def _is_unsorted(day: date, files: Sequence[LiveFile], now: datetime, policy: MergePolicy) -> bool:
    """A closed date that nothing writes to any more, and that was not sorted as a whole yet."""
    is_quiet = all(file.written_at <= now - policy.quiet for file in files)
    return is_over(day, now, policy) and is_quiet and any(file.origin != "sorted" for file in files)


def is_over(day: date, now: datetime, policy: MergePolicy) -> bool:
    """Whether a date is over, and what late clients are allowed after it."""
    return day < date.max and now >= datetime.combine(day + timedelta(days=1), time(), UTC) + policy.closed_after


def _batch(groups: Iterable[Sequence[LiveFile]], policy: MergePolicy, is_whole: bool = False) -> tuple[LiveFile, ...]:
    """Groups of files that fit into one swap: the first at least in part, whole dates always whole."""
    taken: list[LiveFile] = []
    size = 0
    for group in groups:
        size += sum(file.size for file in group)
        if taken and (size > policy.batch_bytes or len(taken) + len(group) > policy.batch_files):
            break
        taken += group
    return tuple(taken if is_whole else taken[: policy.batch_files])


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """What is dropped, by whole dates; by default only dead letters."""

    days: int | None = None
    bytes: int | None = None
    dead_letter_days: int = 30


def oldest_kept_date(files: Sequence[LiveFile], now: datetime, policy: RetentionPolicy) -> date | None:
    """Every earlier date is dropped; None: nothing is. Today stays, whatever it weighs."""
    if policy.days is None and policy.bytes is None:
        return None
    today = now.astimezone(UTC).date()
    oldest = date.min if policy.days is None else today - timedelta(days=policy.days)
    if policy.bytes is not None:
        oldest = max(oldest, _oldest_that_fits(files, today, policy.bytes))
    return oldest


def _oldest_that_fits(files: Sequence[LiveFile], today: date, limit: int) -> date:
    sizes: dict[date, int] = defaultdict(int)
    for file in files:
        sizes[file.date] += file.size
    weight = 0
    for day in sorted(sizes, reverse=True):
        weight += sizes[day]
        if weight > limit and day < today:
            return day + timedelta(days=1)
    return min(sizes, default=today)
