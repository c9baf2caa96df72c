"""Sliding windows: exact by an oracle, shared by processes, bounded, and never a reason to wait long."""

import contextlib
import fcntl
import multiprocessing
import os
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.limits.windows import SIZE_BYTES, Windows, WindowsBusy
from schemas.limits import Limit

SECOND = 1_000_000_000


class Clock:
    """A clock that is moved by hand; it starts late enough for windows to lie behind it."""

    def __init__(self) -> None:
        self.now = 1_000_000 * SECOND

    def __call__(self) -> int:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def windows(tmp_path: Path, clock: Clock) -> Iterator[Windows]:
    windows = Windows(tmp_path / "limits", clock)
    yield windows
    windows.close()


def test_one_more_than_the_limit_is_refused_until_the_first_has_left(windows: Windows, clock: Clock) -> None:
    limits = (Limit(3, 60),)
    remaining = []
    for _ in range(3):
        remaining.append(windows.take("a", limits).remaining)
        clock.pass_seconds(1)
    refused = windows.take("a", limits)
    assert (remaining, refused.is_admitted, refused.remaining, refused.wait_seconds) == ([2, 1, 0], False, 0, 57)

    clock.pass_seconds(56.999)
    assert not windows.take("a", limits).is_admitted
    clock.pass_seconds(0.001)
    assert windows.take("a", limits).is_admitted
    assert not windows.take("a", limits).is_admitted


def test_subjects_do_not_share(windows: Windows) -> None:
    limits = (Limit(1, 60),)
    assert [windows.take(name, limits).is_admitted for name in "abab"] == [True, True, False, False]


def test_what_one_limit_refuses_counts_in_no_other(windows: Windows, clock: Clock) -> None:
    limits = (Limit(2, 1), Limit(4, 100))
    admitted = 0
    for _ in range(50):
        admitted += windows.take("a", limits).is_admitted
        clock.pass_seconds(0.1)
    assert admitted == 4


def test_forgotten_subject_begins_anew(windows: Windows) -> None:
    limits = (Limit(1, 60),)
    windows.take("a", limits)
    windows.forget("a")
    windows.forget("nobody")
    assert windows.take("a", limits).is_admitted


def test_instants_of_a_host_that_was_started_again_are_forgotten(tmp_path: Path, clock: Clock) -> None:
    limits = (Limit(1, 60),)
    before = Windows(tmp_path / "limits", clock)
    before.take("a", limits)
    before.close()
    clock.now = 5 * SECOND
    after = Windows(tmp_path / "limits", clock)
    assert after.take("a", limits).is_admitted
    assert not after.take("a", limits).is_admitted
    after.close()


@settings(max_examples=150, deadline=None)
@given(
    limits=st.lists(st.tuples(st.integers(1, 70), st.integers(1, 9)), min_size=1, max_size=3),
    steps=st.lists(st.tuples(st.integers(0, 2500), st.integers(1, 40)), max_size=60),
)
def test_equals_a_list_of_instants(limits: list[tuple[int, int]], steps: list[tuple[int, int]]) -> None:
    clock = Clock()
    windows = Windows(None, clock)
    told = tuple(Limit(*limit) for limit in limits)
    admitted: list[int] = []
    try:
        for pause, burst in steps:
            clock.pass_seconds(pause / 1000)
            for _ in range(burst):
                clock.now += 1000
                used = [sum(clock.now - at < limit.seconds * SECOND for at in admitted) for limit in told]
                expected = all(count < limit.requests for count, limit in zip(used, told, strict=True))
                verdict = windows.take("a", told)
                assert verdict.is_admitted == expected
                if expected:
                    admitted.append(clock.now)
                    left = [limit.requests - count - 1 for count, limit in zip(used, told, strict=True)]
                    assert verdict.remaining == min(left)
                else:
                    waits = [
                        limit.seconds - (clock.now - admitted[-limit.requests]) / SECOND
                        for count, limit in zip(used, told, strict=True)
                        if count >= limit.requests
                    ]
                    assert verdict.wait_seconds == pytest.approx(max(waits), abs=1e-5)
    finally:
        windows.close()


def test_many_subjects_of_few_requests_leave_a_busy_one_alone(windows: Windows, clock: Clock) -> None:
    """Strangers can be invented by the thousand: they push out each other, and not who sends much."""
    limits = (Limit(500, 3600),)
    for _ in range(500):
        assert windows.take("busy", limits).is_admitted
    for number in range(40_000):
        windows.take(f"stranger-{number}", limits)
    assert not windows.take("busy", limits).is_admitted


def _hammer(path: Path, limit: Limit, start: Barrier, admitted: "multiprocessing.Queue[int]") -> None:
    windows = Windows(path)
    start.wait(60)
    count = 0
    for _ in range(3000):
        with contextlib.suppress(WindowsBusy):
            count += windows.take("all", (limit,)).is_admitted
    admitted.put(count)


def test_processes_share_one_limit(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    admitted: multiprocessing.Queue[int] = context.Queue()
    arguments = (tmp_path / "limits", Limit(5000, 600), context.Barrier(3), admitted)
    processes = [context.Process(target=_hammer, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    counts = [admitted.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sum(counts) == 5000
    assert max(counts) < 5000, "more than one had a share"


def test_a_process_that_stands_still_with_the_lock_is_not_waited_for(tmp_path: Path) -> None:
    windows = Windows(tmp_path / "limits")
    holder = os.open(tmp_path / "limits", os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    began = time.monotonic()
    with pytest.raises(WindowsBusy):
        windows.take("a", (Limit(1, 60),))
    assert time.monotonic() - began < 2
    os.close(holder)
    assert windows.take("a", (Limit(1, 60),)).is_admitted
    windows.close()


def test_file_is_private_and_all_there(tmp_path: Path) -> None:
    """A hole would end the process that touches it on a full disk."""
    Windows(tmp_path / "limits").close()
    status = (tmp_path / "limits").stat()
    assert status.st_mode & 0o777 == 0o600
    assert status.st_size == SIZE_BYTES
    assert status.st_blocks * 512 >= SIZE_BYTES


def test_closed_windows_admit_nobody(windows: Windows) -> None:
    windows.close()
    windows.close()
    with pytest.raises(WindowsBusy):
        windows.take("a", (Limit(1, 60),))


def test_a_file_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Windows(tmp_path / "nowhere" / "limits")
