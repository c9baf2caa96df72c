"""When a child that ended starts again."""

from api.cli.restarts import DOUBTFUL, Restarts


def test_delays_of_a_failing_child_grow_to_half_a_minute() -> None:
    restarts = Restarts()

    delays = [restarts.delay(now, 1.0, 1, is_log_away=False) for now in range(9)]

    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_child_that_lived_for_a_minute_starts_afresh() -> None:
    restarts = Restarts()
    for now in range(9):
        restarts.delay(now, 1.0, -9, is_log_away=False)

    assert restarts.delay(100, 61.0, -9, is_log_away=False) == 0.5


def test_ends_while_the_log_is_away_count_for_nothing() -> None:
    restarts = Restarts()

    assert [restarts.delay(now, 0.1, 1, is_log_away=True) for now in range(20)] == [0.5] * 20
    assert [restarts.delay(now, 0.1, DOUBTFUL, is_log_away=True) for now in range(20)] == [0.5] * 20
    assert restarts.failures == 0
    assert restarts.delay(30, 0.1, DOUBTFUL, is_log_away=False) == 0.5


def test_the_fourth_doubtful_end_in_ten_minutes_waits_a_minute() -> None:
    restarts = Restarts()

    assert [restarts.delay(now, 5.0, DOUBTFUL, is_log_away=False) for now in (0, 10, 20, 30)] == [0.5, 0.5, 0.5, 60]
    assert restarts.delay(625, 5.0, DOUBTFUL, is_log_away=False) == 0.5
