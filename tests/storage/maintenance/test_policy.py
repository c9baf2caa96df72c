"""When files are merged and dates dropped: tables of cases, and properties over any file list."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.maintenance.files import LiveFile
from storage.maintenance.policy import MEGABYTE, MergePolicy, RetentionPolicy, next_merge, oldest_kept_date

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
TODAY = NOW.date()
POLICY = MergePolicy()


def _files(
    count: int,
    day: date = TODAY,
    origin: str = "part",
    size: int = 1000,
    age: timedelta = timedelta(seconds=1),
) -> list[LiveFile]:
    return [LiveFile(f"date={day}/{origin}-{day}-{n}.parquet", size, 10, day, NOW - age) for n in range(count)]


def _days_ago(days: int) -> date:
    return TODAY - timedelta(days=days)


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("files", "merged"),
    [
        pytest.param([], 0, id="nothing there"),
        pytest.param(_files(1, age=HOUR), 0, id="one file alone"),
        pytest.param(_files(50), 0, id="as many as may be, all young"),
        pytest.param(_files(51), 51, id="one too many"),
        pytest.param(_files(2, age=timedelta(minutes=5)), 2, id="old enough"),
        pytest.param(_files(2, origin="merged", age=HOUR), 0, id="merged already"),
        pytest.param(_files(1, origin="merged", age=HOUR) + _files(1, age=HOUR), 2, id="merged and a new one"),
        pytest.param(_files(60, size=32 * MEGABYTE), 0, id="large files are left alone"),
        pytest.param(_files(51, size=2 * MEGABYTE) + _files(9, size=32 * MEGABYTE), 51, id="only the small ones"),
        pytest.param([f for n in range(1, 5) for f in _files(50, _days_ago(n))], 0, id="200 in all"),
        pytest.param([f for n in range(1, 6) for f in _files(41, _days_ago(n))], 205, id="over 200 in all"),
        pytest.param(
            [f for n in range(365) for f in _files(1, _days_ago(n), "sorted")], 0, id="a year of closed dates"
        ),
        pytest.param(
            [f for n in range(65) for f in _files(2, _days_ago(n), age=timedelta(seconds=30))], 130, id="wide commits"
        ),
        pytest.param(
            [f for n in range(64) for f in _files(2, _days_ago(n), age=timedelta(seconds=30))], 0, id="not that wide"
        ),
        pytest.param([f for n in range(365) for f in _files(2, _days_ago(n))], 0, id="a back-fill gets half a minute"),
        pytest.param([f for n in range(365) for f in _files(6, _days_ago(n))], 996, id="a fast back-fill does not"),
    ],
)
def test_small_files_are_merged_when_due(files: list[LiveFile], merged: int) -> None:
    plan = next_merge(files, NOW, POLICY)

    assert (len(plan.files) if plan else 0) == merged
    assert plan is None or not plan.is_final


@pytest.mark.parametrize(
    ("files", "is_due"),
    [
        pytest.param(_files(1, _days_ago(1), age=HOUR), True, id="closed and quiet"),
        pytest.param(_files(1, _days_ago(1), age=timedelta(minutes=9)), False, id="still written to"),
        pytest.param(_files(1, TODAY, age=HOUR), False, id="today"),
        pytest.param(_files(1, TODAY + timedelta(days=3), age=HOUR), False, id="a day to come"),
        pytest.param(_files(1, date.max, age=HOUR), False, id="the last day there is"),
        pytest.param(_files(1, _days_ago(1), "sorted", age=HOUR), False, id="done"),
        pytest.param(
            _files(1, _days_ago(1), "sorted", age=HOUR) + _files(1, _days_ago(1), "merged", age=HOUR),
            True,
            id="late rows came",
        ),
    ],
)
def test_a_closed_date_is_sorted_once(files: list[LiveFile], is_due: bool) -> None:
    plan = next_merge(files, NOW, POLICY)

    assert (plan is not None and plan.is_final and set(plan.files) == set(files)) is is_due


def test_a_date_is_not_closed_in_the_first_hour_of_the_next() -> None:
    files = [LiveFile("part-1", 10, 1, date(2026, 3, 9), NOW - timedelta(days=1))]
    midnight = datetime(2026, 3, 10, tzinfo=UTC)

    assert next_merge(files, midnight + timedelta(minutes=59), POLICY) is None
    assert next_merge(files, midnight + timedelta(minutes=60), POLICY) is not None


def test_final_merges_take_several_small_dates_and_whole_large_ones() -> None:
    small = [f for n in range(1, 11) for f in _files(1, _days_ago(n), age=HOUR, size=10 * MEGABYTE)]
    large = _files(40, _days_ago(20), age=HOUR, size=100 * MEGABYTE)

    first = next_merge(large + small, NOW, POLICY)
    then = next_merge(small, NOW, POLICY)

    assert first is not None
    assert then is not None
    assert first.dates == (_days_ago(20),)
    assert len(first.files) == 40
    assert len(then.dates) == 6


@given(
    st.lists(
        st.tuples(
            st.integers(0, 90), st.sampled_from(["part", "merged", "sorted"]), st.integers(1, 64), st.integers(0, 7200)
        ),
        max_size=300,
    )
)
def test_a_plan_names_only_live_files_of_at_least_two_or_of_whole_dates(
    shapes: list[tuple[int, str, int, int]],
) -> None:
    files = [
        LiveFile(f"{origin}-{number}", size * MEGABYTE, 1, _days_ago(days), NOW - timedelta(seconds=age))
        for number, (days, origin, size, age) in enumerate(shapes)
    ]

    plan = next_merge(files, NOW, POLICY)

    if plan is None:
        return
    assert len(set(plan.files)) == len(plan.files) > 0
    assert set(plan.files) <= set(files)
    if plan.is_final:
        assert set(plan.files) == {file for file in files if file.date in plan.dates}
    else:
        assert all(file.size < POLICY.small_bytes for file in plan.files)
        assert len(plan.files) > 1


@pytest.mark.parametrize(
    ("policy", "oldest"),
    [
        pytest.param(RetentionPolicy(), None, id="kept for ever"),
        pytest.param(RetentionPolicy(days=3), _days_ago(3), id="by age"),
        pytest.param(RetentionPolicy(bytes=10_000), _days_ago(9), id="all fits: nothing older than the oldest"),
        pytest.param(RetentionPolicy(bytes=3_500), _days_ago(2), id="three days fit"),
        pytest.param(RetentionPolicy(bytes=1), TODAY, id="today stays"),
        pytest.param(RetentionPolicy(days=1, bytes=3_500), _days_ago(1), id="the stricter of both"),
    ],
)
def test_retention_drops_the_oldest_dates(policy: RetentionPolicy, oldest: date | None) -> None:
    files = [file for n in range(10) for file in _files(1, _days_ago(n))]

    assert oldest_kept_date(files, NOW, policy) == oldest


def test_retention_by_bytes_of_nothing_drops_nothing() -> None:
    assert oldest_kept_date([], NOW, RetentionPolicy(bytes=1)) == TODAY
