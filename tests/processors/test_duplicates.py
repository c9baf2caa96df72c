"""The window of recent ids against a list of everything that was accepted."""

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.duplicates import DuplicateWindow

_IDS = st.lists(st.tuples(st.integers(1, 2), st.sampled_from("abcd"), st.integers(0, 6000)), max_size=40)


def _add(window: DuplicateWindow, project: int, event_id: str, received: int) -> bool:
    return window.add([(project, received, 1)], [event_id]) == []


class Ledger:
    """The rule by the book: what was accepted, and what of it is still within the seconds."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.accepted: list[tuple[int, str, int]] = []

    def add(self, project: int, event_id: str, received: int) -> bool:
        newest = max((at for _, _, at in self.accepted), default=0)
        for other, known, at in self.accepted:
            if (other, known) == (project, event_id) and at > newest - self.seconds * 1000:
                return False
        self.accepted.append((project, event_id, received))
        return True


@given(_IDS)
@settings(deadline=None)
def test_window_decides_as_the_ledger(ids: list[tuple[int, str, int]]) -> None:
    window, ledger = DuplicateWindow(2, 1000), Ledger(2)
    for one in ids:
        assert _add(window, *one) == ledger.add(*one)


@given(st.lists(_IDS, max_size=6))
@settings(deadline=None)
def test_window_decides_over_many_at_once_as_the_ledger_over_one_after_the_other(
    takes: list[list[tuple[int, str, int]]],
) -> None:
    window, ledger = DuplicateWindow(2, 1000), Ledger(2)
    for ids in takes:
        duplicates = [place for place, one in enumerate(ids) if not ledger.add(*one)]
        runs = [(project, received, 1) for project, _, received in ids]
        assert window.add(runs, [event_id for _, event_id, _ in ids]) == duplicates


@given(_IDS, _IDS)
@settings(deadline=None)
def test_window_rebuilt_from_accepted_rows_decides_as_the_one_that_lived(
    before: list[tuple[int, str, int]], after: list[tuple[int, str, int]]
) -> None:
    lived, ledger, rebuilt = DuplicateWindow(2, 1000), Ledger(2), DuplicateWindow(2, 1000)
    for one in before:
        _add(lived, *one)
        ledger.add(*one)
    newest = max((at for _, _, at in ledger.accepted), default=0)
    rebuilt.load(one for one in ledger.accepted if one[2] > newest - 2000)
    for one in after:
        assert _add(rebuilt, *one) == _add(lived, *one)


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 8))
@settings(deadline=None)
def test_window_remembers_the_last_rows_and_no_more(numbers: list[int], rows: int) -> None:
    window = DuplicateWindow(1000, rows)
    accepted: list[int] = []
    for number in numbers:
        assert _add(window, 1, str(number), 0) == (number not in accepted[-rows:])
        if number not in accepted[-rows:]:
            accepted.append(number)


def test_window_of_nothing_remembers_nothing() -> None:
    for window in (DuplicateWindow(0, 10), DuplicateWindow(10, 0)):
        assert _add(window, 1, "a", 5)
        assert _add(window, 1, "a", 5)


def test_window_tells_projects_apart_even_with_slashes_in_ids() -> None:
    window = DuplicateWindow(10, 10)
    assert _add(window, 1, "1/a", 0)
    assert _add(window, 11, "a", 0)
    assert _add(window, 1, "a", 0)
    assert not _add(window, 1, "a", 0)


def test_window_that_grew_many_times_knows_its_last_rows_and_forgot_the_others() -> None:
    window = DuplicateWindow(10, 120_000)
    names = [f"id {number}" for number in range(400_000)]
    for start in range(0, len(names), 7000):
        part = names[start : start + 7000]
        assert window.add([(1, 0, len(part))], part) == []
    known = names[-120_000:]
    assert window.add([(1, 0, len(known))], known) == list(range(len(known)))
    assert window.add([(1, 0, 1000)], names[279_000:280_000]) == []
