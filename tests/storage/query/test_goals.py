"""Goals by hand-made journeys whose figures are plain."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from schemas.filters import AllOf, equals
from schemas.funnels import page_filter
from schemas.goals import Conversion, GoalAnswer, GoalQuestion
from schemas.questions import InvalidQuestion
from schemas.rows import Row, WebFields
from schemas.selection import Selection
from schemas.windows import Interval, TimeRange, buckets
from storage.query.goals import answer_goal
from tests import oracle_figures as oracle
from tests.factories import LakeWriter, event_row
from tests.storage.query.asking import Asker, asking, span_of
from tests.storage.query.test_overview import ALIASES, some_events

SPAN = span_of("2026-03-20", "2026-03-21")
DAYS = tuple(buckets(SPAN, Interval.DAY, ZoneInfo("UTC")))


def _row(
    hour: float, person: str, event: str, path: str | None = None, source: str | None = None, properties: bytes = b"{}"
) -> Row:
    at = datetime(2026, 3, 20, tzinfo=UTC) + timedelta(hours=hour)
    row = event_row(at, person, event, properties=properties)
    return msgspec.structs.replace(row, web=WebFields(path=path, referrer_domain=source))


ROWS = [
    _row(1, "a", "page_view", "/", "x.org"),
    _row(1.2, "a", "page_view", "/thanks", "(direct)"),
    _row(1.3, "a", "buy", "/thanks", None, b'{"value":7.5,"category":"shop"}'),
    _row(2, "b", "page_view", "/", "(direct)"),
    _row(2.01, "b", "buy", "/", None, b'{"category":"shop"}'),
    _row(25, "b", "buy", None, None, b'{"category":"other","value":"x"}'),
    _row(3, "c", "page_view", "/", "x.org"),
    _row(4, "", "buy", None, None, b'{"category":"shop"}'),
    _row(100, "late", "buy"),
]


def _ask(ask: Asker, question: GoalQuestion) -> GoalAnswer:
    return ask(lambda cursor, lake: answer_goal(cursor, lake, question, {}))


def test_goals_of_events_pages_and_time(tmp_path: Path) -> None:
    LakeWriter(tmp_path).append(ROWS)
    selection = Selection(1, SPAN)
    with asking(tmp_path) as ask:
        buys = _ask(ask, GoalQuestion(selection, equals("event", "buy"), value=2.0, buckets=DAYS))
        shop = AllOf((equals("event", "buy"), equals("properties.category", "shop")))
        of_shop = _ask(ask, GoalQuestion(selection, shop))
        thanks = _ask(ask, GoalQuestion(selection, page_filter("/thanks")))
        long = _ask(ask, GoalQuestion(selection, seconds=600, value=1.0))

    assert buys.total == Conversion("", 4, 3, 2)
    assert (buys.total.rate, buys.total.people, buys.value) == (133.3, 2, 13.5)
    assert buys.series == (Conversion("2026-03-20", 3, 3, 2), Conversion("2026-03-21", 1, 1, 1))
    assert buys.sources == (Conversion("(direct)", 1, 1, 1), Conversion("x.org", 1, 2, 1))
    assert buys.pages == (Conversion("/", 1, 3, 1), Conversion("/thanks", 1, 1, 1))
    assert (of_shop.total.completions, of_shop.value) == (3, 7.5)
    assert thanks.total == Conversion("", 1, 3, 1)
    assert (long.total, long.value) == (Conversion("", 1, 3, 1), 1.0)
    assert long.sources == (Conversion("x.org", 1, 2, 1),)


def test_a_goal_by_the_values_of_a_dimension(tmp_path: Path) -> None:
    LakeWriter(tmp_path).append(ROWS)
    selection = Selection(1, SPAN)
    with asking(tmp_path) as ask:
        by_session = _ask(ask, GoalQuestion(selection, equals("event", "buy"), dimension="referrer"))
        by_event = _ask(ask, GoalQuestion(selection, equals("event", "buy"), dimension="properties.category"))
        by_name = _ask(ask, GoalQuestion(selection, equals("event", "buy"), dimension="event", top=1))
        by_entry = _ask(ask, GoalQuestion(selection, seconds=600, dimension="entryPath"))

    assert by_session.values == (Conversion("x.org", 1, 2, 1), Conversion("(direct)", 1, 1, 1))
    assert by_session.values[0].people_rate == 50.0
    assert by_event.values == (Conversion("shop", 3, 2, 2), Conversion("other", 1, 1, 1))
    # What completes nothing is listed too, behind the others.
    assert by_name.values == (Conversion("buy", 4, 2, 2),)
    assert by_entry.values == (Conversion("/", 1, 3, 1),)
    assert (by_name.sources, by_name.pages) == ((), ())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_conversions_are_those_of_the_oracle(tmp_path: Path, seed: int, zone: str) -> None:
    rows = list(some_events(random.Random(seed), 200))
    LakeWriter(tmp_path).append(rows)
    span = span_of("2026-03-20", "2026-04-02")
    points = tuple(buckets(span, Interval.DAY, ZoneInfo(zone)))
    goal = AllOf((equals("event", "click"), equals("properties.plan", "pro")))
    question = GoalQuestion(Selection(1, span), goal, buckets=points, dimension="country")
    with asking(tmp_path) as ask:
        found = ask(lambda cursor, lake: answer_goal(cursor, lake, question, ALIASES))

    def reaches(row: Row) -> bool:
        return row.event == "click" and b'"plan":"pro"' in row.properties

    def converted(name: str, some: TimeRange, test: oracle.Test = lambda _: True) -> Conversion:
        return Conversion(name, *oracle.conversion(rows, 1, some, test, reaches, ALIASES))

    assert found.total == converted("", span)
    assert found.total.people_rate > 0
    assert list(found.series) == [converted(point.label, TimeRange(point.start, point.end)) for point in points]
    assert found.values == (converted("DE", span, lambda row: row.web.country == "DE"),)


def test_a_goal_is_reached_in_one_way() -> None:
    with pytest.raises(InvalidQuestion):
        GoalQuestion(Selection(1, SPAN))
