"""Which events of many are shown."""

from api.live.sampling import MOST_BYTES, MOST_EVENTS, Sampling


def show(sampling: Sampling, size: int, length: int = 100) -> list[int]:
    return [place for place in sampling.places(size) if sampling.fits(length)]


def test_all_up_to_a_hundred_a_second_are_shown_and_nothing_is_said() -> None:
    sampling = Sampling(0.0)
    for now in range(5):
        assert show(sampling, 60) == list(range(60))
        assert show(sampling, 40) == list(range(40))
        assert sampling.turn(now + 1.0) is None


def test_of_more_a_hundred_are_shown_and_the_rest_is_told() -> None:
    sampling = Sampling(0.0)
    found = show(sampling, 1000)
    assert found == list(range(0, 1000, 10))
    assert show(sampling, 7) == []
    assert sampling.turn(0.9) is None
    assert sampling.turn(1.0) == (100, 907)


def test_after_a_full_second_what_is_shown_is_spread_over_the_next() -> None:
    sampling = Sampling(0.0)
    show(sampling, 1000)
    sampling.turn(1.0)
    assert [len(show(sampling, 100)) for _ in range(10)] == [10] * 10
    assert sampling.turn(2.0) == (MOST_EVENTS, 900)
    # As soon as it is quiet again, everything is shown.
    assert sampling.turn(3.0) is None
    assert len(show(sampling, 90)) == 90


def test_large_events_are_bounded_by_their_bytes() -> None:
    sampling = Sampling(0.0)
    assert len(show(sampling, 10, MOST_BYTES // 4)) == 4
    assert sampling.turn(1.0) == (4, 6)
