"""The breaker: what opens it, what closes it, how long it waits."""

from api.log.breaker import Breaker, BreakerPolicy

POLICY = BreakerPolicy(failures=3, memory_seconds=10, first_pause_seconds=1, longest_pause_seconds=5)


def test_failures_in_a_row_open_it_once() -> None:
    breaker = Breaker(POLICY)
    assert [breaker.fail(now) for now in (1, 2, 3, 4)] == [False, False, True, False]
    assert breaker.is_open


def test_a_delivery_in_between_starts_the_count_again() -> None:
    breaker = Breaker(POLICY)
    breaker.fail(1)
    breaker.fail(2)
    breaker.succeed()
    breaker.fail(3)
    assert not breaker.is_open


def test_old_failures_are_forgotten() -> None:
    breaker = Breaker(POLICY)
    breaker.fail(1)
    breaker.fail(2)
    breaker.fail(12.1)
    assert not breaker.is_open


def test_success_closes_it_and_it_opens_again_only_after_a_row() -> None:
    breaker = Breaker(POLICY)
    for now in range(5):
        breaker.fail(now)
    breaker.succeed()
    assert not breaker.is_open
    assert [breaker.fail(now) for now in (6, 7, 8)] == [False, False, True]


def test_pauses_grow_to_the_longest() -> None:
    breaker = Breaker(POLICY)
    assert [breaker.pause_seconds(1) for _ in range(7)] == [1, 2, 3, 4, 5, 5, 5]
    assert breaker.pause_seconds(0) == 1


def test_pauses_start_again_with_each_outage() -> None:
    breaker = Breaker(POLICY)
    for outage in (0, 100):
        for now in range(3):
            breaker.fail(outage + now)
        assert [breaker.pause_seconds(1) for _ in range(3)] == [1, 2, 3]
        breaker.succeed()
