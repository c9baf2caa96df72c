"""The window of recent ids against a list of everything that was accepted."""

from hypothesis import given
from hypothesis import strategies as st

from processors.duplicates import DuplicateWindow

_IDS = st.lists(st.tuples(st.integers(1, 2), st.sampled_from("abcd"), st.integers(0, 6000)), max_size=40)


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


@given(_IDS, st.integers(1, 5))
def test_window_decides_as_the_ledger(ids: list[tuple[int, str, int]], forget_every: int) -> None:
    window, ledger = DuplicateWindow(2, 1000), Ledger(2)
    for number, one in enumerate(ids):
        assert window.add(*one) == ledger.add(*one)
        if number % forget_every == 0:
            window.forget()


@given(_IDS, _IDS)
def test_window_rebuilt_from_accepted_rows_decides_as_the_one_that_lived(
    before: list[tuple[int, str, int]], after: list[tuple[int, str, int]]
) -> None:
    lived, ledger, rebuilt = DuplicateWindow(2, 1000), Ledger(2), DuplicateWindow(2, 1000)
    for one in before:
        lived.add(*one)
        ledger.add(*one)
        lived.forget()
    newest = max((at for _, _, at in ledger.accepted), default=0)
    rebuilt.load(one for one in ledger.accepted if one[2] > newest - 2000)
    for one in after:
        assert rebuilt.add(*one) == lived.add(*one)


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 8))
def test_window_remembers_the_last_rows_and_no_more(numbers: list[int], rows: int) -> None:
    window = DuplicateWindow(1000, rows)
    accepted: list[int] = []
    for number in numbers:
        assert window.add(1, str(number), 0) == (number not in accepted[-rows:])
        if number not in accepted[-rows:]:
            accepted.append(number)
        window.forget()
        assert len(window) <= rows


def test_window_of_nothing_remembers_nothing() -> None:
    for window in (DuplicateWindow(0, 10), DuplicateWindow(10, 0)):
        assert window.add(1, "a", 5)
        window.forget()
        assert len(window) == 0
        assert window.add(1, "a", 5)


def test_window_tells_projects_apart_even_with_slashes_in_ids() -> None:
    window = DuplicateWindow(10, 10)
    assert window.add(1, "1/a", 0)
    assert window.add(11, "a", 0)
    assert window.add(1, "a", 0)
    assert not window.add(1, "a", 0)
