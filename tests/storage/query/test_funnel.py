"""Funnels of generated events, against the oracle."""

import statistics
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.filters import equals
from schemas.funnels import FunnelAnswer, FunnelPath, FunnelQuestion, Step, page_filter
from schemas.questions import InvalidQuestion
from schemas.rows import Row, WebFields
from schemas.selection import Selection
from schemas.windows import Interval, buckets
from storage.query.funnel import answer_funnel
from tests import oracle_figures, oracle_funnel
from tests.factories import LakeWriter, event_row
from tests.storage.query.asking import Asker, asking, span_of

START = datetime(2026, 3, 20, tzinfo=UTC)
SPAN = span_of("2026-03-20", "2026-03-22")
ALIASES = {"u1": "u2"}
NAMES = ["view", "cart", "pay"]


def _steps(names: str) -> tuple[Step, ...]:
    return tuple(Step(name, equals("event", name)) for name in names)


def _ask(ask: Asker, question: FunnelQuestion) -> FunnelAnswer:
    return ask(lambda cursor, lake: answer_funnel(cursor, lake, question, ALIASES))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from(["u1", "u2", "u3", ""]), st.sampled_from("abc")),
        min_size=1,
        max_size=25,
    ),
    st.sampled_from(["ab", "abc", "aba", "aa", "cab"]),
    st.integers(1, 8),
)
def test_every_run_is_the_best_there_is(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, str, str]], steps: str, minutes: int
) -> None:
    rows = [event_row(START + timedelta(minutes=at), person, name) for at, person, name in events]
    place: Path = tmp_path_factory.mktemp("lake")
    LakeWriter(place).append(rows, with_rollups=False)
    points = tuple(buckets(SPAN, Interval.DAY, ZoneInfo("UTC")))
    window = timedelta(minutes=minutes)
    with asking(place) as ask:
        answer = _ask(ask, FunnelQuestion(Selection(1, SPAN), _steps(steps), window, buckets=points))

    people: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.distinct_id:
            people[oracle_figures.person_of(row, ALIASES)].append(row)
    tests = [lambda row, name=name: row.event == name for name in steps]
    runs = oracle_funnel.best_runs(people.values(), tests, minutes * 60_000)
    counts = [sum(len(run.times) > step for run in runs) for step in range(len(steps))]
    assert [step.count for step in answer.steps] == counts
    assert [step.drop_off for step in answer.steps] == [0, *(a - b for a, b in pairwise(counts))]
    assert sum(point.entered for point in answer.series) == counts[0]
    assert answer.series[0].completed == counts[-1]
    assert sum(path.count for path in answer.paths) == counts[0]


def _journey(person: str, *names: str, minute: int = 0, session: str | None = None) -> list[Row]:
    return [
        event_row(START + timedelta(minutes=minute, seconds=10 * place), person, name, session=session)
        for place, name in enumerate(names)
    ]


def test_rates_times_and_paths(tmp_path: Path) -> None:
    rows = [
        *_journey("a", "view", "other", "cart", "pay"),
        *_journey("b", "view", "cart"),
        *_journey("c", "view", "pay"),
        *_journey("d", "cart", "pay"),
        *_journey("e", "view"),
    ]
    LakeWriter(tmp_path).append(rows)
    with asking(tmp_path) as ask:
        answer = _ask(
            ask, FunnelQuestion(Selection(1, SPAN), tuple(Step(n.title(), equals("event", n)) for n in NAMES))
        )

    assert [step.count for step in answer.steps] == [4, 2, 1]
    assert [step.from_previous for step in answer.steps] == [100.0, 50.0, 50.0]
    assert [step.from_start for step in answer.steps] == [100.0, 50.0, 25.0]
    assert [step.median_seconds for step in answer.steps] == [None, statistics.median([20, 10]), 10.0]
    assert [step.mean_seconds for step in answer.steps] == [None, 15.0, 10.0]
    assert answer.mean_seconds == 30.0
    assert set(answer.paths) == {
        FunnelPath(("View", "Cart", "Pay"), 1, 30.0),
        FunnelPath(("View", "Cart"), 1, 10.0),
        FunnelPath(("View", "Pay"), 1, 10.0),
        FunnelPath(("View",), 1, 0.0),
    }


def test_a_funnel_by_session_ends_with_the_session(tmp_path: Path) -> None:
    rows = [*_journey("a", "view", session="s1"), *_journey("a", "cart", minute=5, session="s2")]
    rows += [*_journey("b", "view"), *_journey("b", "cart", minute=5)]
    rows += [*_journey("c", "view"), *_journey("c", "cart", minute=31)]
    LakeWriter(tmp_path).append(rows)
    with asking(tmp_path) as ask:
        steps = tuple(Step(name, equals("event", name)) for name in NAMES[:2])
        by_session = _ask(ask, FunnelQuestion(Selection(1, SPAN), steps, is_by_session=True))
        by_person = _ask(ask, FunnelQuestion(Selection(1, SPAN), steps))

    assert [step.count for step in by_session.steps] == [3, 1]
    assert [step.count for step in by_person.steps] == [3, 3]


def test_a_funnel_by_a_dimension_of_its_first_step(tmp_path: Path) -> None:
    rows = [
        event_row(START, "a", "view", properties=b'{"plan":"x"}'),
        event_row(START + timedelta(minutes=1), "a", "cart", properties=b'{"plan":"y"}'),
        event_row(START, "b", "view", properties=b'{"plan":"y"}'),
        event_row(START, "c", "view"),
    ]
    LakeWriter(tmp_path).append(rows)
    with asking(tmp_path) as ask:
        steps = tuple(Step(name, equals("event", name)) for name in NAMES[:2])
        answer = _ask(ask, FunnelQuestion(Selection(1, SPAN), steps, dimension="plan"))

    assert [(value, [step.count for step in steps]) for value, steps in answer.by_value] == [
        ("x", [1, 1]),
        ("y", [1, 0]),
    ]


def test_nobody(tmp_path: Path) -> None:
    LakeWriter(tmp_path)
    with asking(tmp_path) as ask:
        answer = _ask(ask, FunnelQuestion(Selection(1, SPAN), _steps("ab")))
    assert [(step.count, step.from_start) for step in answer.steps] == [(0, 0.0), (0, 0.0)]
    assert answer.mean_seconds is None
    assert answer.paths == ()


@pytest.mark.parametrize("steps", ["a", "abcdefghijk"])
def test_too_few_and_too_many_steps(steps: str) -> None:
    with pytest.raises(InvalidQuestion, match="steps"):
        FunnelQuestion(Selection(1, SPAN), _steps(steps))


def test_windows_and_pages_that_cannot_be() -> None:
    with pytest.raises(InvalidQuestion, match="windowSeconds"):
        FunnelQuestion(Selection(1, SPAN), _steps("ab"), timedelta(0))
    with pytest.raises(InvalidQuestion, match="matchType"):
        page_filter("/", "fuzzy")


def test_pages_are_matched_in_three_ways(tmp_path: Path) -> None:
    paths = ["/thank-you", "/thank-you/", "/blog/thank-you-post", "/product/7", "/product/x"]
    pages = [
        msgspec.structs.replace(event_row(START, f"p{at}", "page_view"), web=WebFields(path=path))
        for at, path in enumerate(paths)
    ]
    no_page = msgspec.structs.replace(event_row(START, "n", "click"), web=WebFields(path="/thank-you"))
    LakeWriter(tmp_path).append([*pages, no_page])
    with asking(tmp_path) as ask:

        def entered(path: str, match: str) -> int:
            steps = (Step("page", page_filter(path, match)), Step("buy", equals("event", "buy")))
            return _ask(ask, FunnelQuestion(Selection(1, SPAN), steps)).steps[0].count

        assert entered("/thank-you", "exact") == 1
        assert entered("thank-you", "contains") == 3
        assert entered("^/product/[0-9]+$", "regex") == 1
