"""The breaker: how long it waits before each probe."""

from api.log.breaker import Breaker, BreakerPolicy

POLICY = BreakerPolicy(first_pause_seconds=1, longest_pause_seconds=5)


def test_pauses_grow_to_the_longest() -> None:
    breaker = Breaker(POLICY)
    breaker.open()
    assert [breaker.pause_seconds(1) for _ in range(7)] == [1, 2, 3, 4, 5, 5, 5]
    assert breaker.pause_seconds(0) == 1


def test_pauses_start_again_with_each_outage() -> None:
    breaker = Breaker(POLICY)
    for _ in range(2):
        breaker.open()
        assert breaker.is_open
        assert [breaker.pause_seconds(1) for _ in range(3)] == [1, 2, 3]
        breaker.close()
        assert not breaker.is_open
