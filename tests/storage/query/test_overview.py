"""Figures and breakdowns of generated events, against the oracle."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from schemas.figures import BreakdownQuestion, BreakdownRow, OverviewQuestion
from schemas.filters import EVERYTHING, AnyOf, Condition, Filter, Operator, equals
from schemas.rows import Row, WebFields
from schemas.selection import Selection
from schemas.windows import Interval, TimeRange, buckets
from storage.query.breakdown import answer_breakdown
from storage.query.overview import answer_overview
from tests import oracle_figures as oracle
from tests.factories import LakeWriter, event_row
from tests.storage.query.asking import Asker, asking, span_of

START = datetime(2026, 3, 20, tzinfo=UTC)
ALIASES = {"u1": "u2", "u3": "u2", "u5": "nobody-else"}
SPANS = {
    "whole days": ("2026-03-20", "2026-04-02"),
    "one day": ("2026-03-25", "2026-03-25"),
    "partial hours": ("2026-03-22T03:17:00", "2026-03-31T11:42:31.500"),
    "nothing there": ("2020-01-01", "2020-01-03"),
}
ZONES = ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York"]


def some_events(draw: random.Random, count: int) -> Iterator[Row]:
    """Visits of a few people, some with ids that are heard again for days."""
    for _ in range(count):
        at = START + timedelta(seconds=draw.randrange(14 * 86_400), milliseconds=draw.randrange(1000))
        person = draw.choice(["", *(f"u{number}" for number in range(12))])
        session = draw.choice([None, None, f"s{draw.randrange(30)}"])
        for _ in range(draw.choice([1, 1, 2, 3, 5])):
            name = draw.choice(["click", "page_view", "page_view", "$heartbeat", "$engagement", "$alias"])
            measured = {"timeOnPage": draw.choice([5, 30.5, 900])} if name == "$engagement" else {}
            cleared = {"isBounce": False} if draw.random() < 0.1 else {}
            properties = {"plan": draw.choice(["free", "pro"]), "n/~1": draw.choice([1, 2.5, "x", True, None])}
            row = event_row(
                at,
                person,
                name,
                project=draw.choice([1, 1, 1, 2]),
                session=session,
                properties=msgspec.json.encode(properties | measured | cleared),
                is_system=name.startswith("$"),
            )
            web = WebFields(
                path=draw.choice(["/", "/a", "/b/c", None]),
                referrer_domain=draw.choice(["x.org", "(direct)", None]),
                country=draw.choice(["DE", None]),
                is_bot=draw.random() < 0.05,
            )
            yield msgspec.structs.replace(row, web=web)
            at += timedelta(seconds=draw.choice([0, 20, 29 * 60, 30 * 60, 30 * 60 + 0.001, 23 * 3600, 25 * 3600]))


@dataclass(frozen=True)
class World:
    rows: list[Row]
    ask: Asker


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    place: Path = tmp_path_factory.mktemp("lake")
    rows = list(some_events(random.Random(11), 400))
    LakeWriter(place).append(rows)
    with asking(place) as ask:
        yield World(rows, ask)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("aliases", [{}, ALIASES], ids=["as sent", "aliases"])
@pytest.mark.parametrize("span", SPANS.values(), ids=SPANS)
def test_figures_equal_the_oracle_over_the_whole_and_in_every_bucket(
    world: World, span: tuple[str, str], aliases: dict[str, str], zone: str
) -> None:
    wanted = span_of(*span, zone)
    points = tuple(buckets(wanted, Interval.DAY, ZoneInfo(zone)))
    question = OverviewQuestion(Selection(1, wanted), points)

    answer = world.ask(lambda cursor, lake: answer_overview(cursor, lake, question, aliases))

    assert answer.total == oracle.figures(world.rows, 1, wanted, aliases=aliases)
    parts = [TimeRange(point.start, point.end) for point in points]
    assert list(answer.series) == [oracle.figures(world.rows, 1, part, aliases=aliases) for part in parts]


FILTERS: dict[str, tuple[Filter, oracle.Test]] = {
    "eq": (equals("event", "click"), lambda row: row.event == "click"),
    "property": (equals("plan", "pro"), lambda row: b'"plan":"pro"' in row.properties),
    "odd name": (equals("properties.n/~1", 2.5), lambda row: b'"n/~1":2.5' in row.properties),
    "true": (equals("n/~1", True), lambda row: b'"n/~1":true' in row.properties),
    "missing is not equal": (Condition("path", Operator.NEQ, "/"), lambda row: row.web.path != "/"),
    "in": (Condition("path", Operator.IN, ("/", "/a")), lambda row: row.web.path in ("/", "/a")),
    "contains": (Condition("path", Operator.CONTAINS, "b"), lambda row: "b" in (row.web.path or "")),
    "not contains": (Condition("path", Operator.NOT_CONTAINS, "b"), lambda row: "b" not in (row.web.path or "")),
    "starts": (Condition("path", Operator.STARTS_WITH, "/b"), lambda row: (row.web.path or "").startswith("/b")),
    "ends": (Condition("path", Operator.ENDS_WITH, "c"), lambda row: (row.web.path or "").endswith("c")),
    "matches": (Condition("path", Operator.MATCHES, "^/[ab]"), lambda row: row.web.path in ("/a", "/b/c")),
    "greater": (Condition("n/~1", Operator.GT, 1), lambda row: b'"n/~1":2.5' in row.properties),
    "greater than digits": (Condition("n/~1", Operator.GT, "1"), lambda row: b'"n/~1":2.5' in row.properties),
    "set": (Condition("country", Operator.SET), lambda row: row.web.country is not None),
    "not set": (Condition("n/~1", Operator.NOT_SET), lambda row: b'"n/~1":null' in row.properties),
    "either": (
        AnyOf((equals("path", "/a"), equals("plan", "free"))),
        lambda row: row.web.path == "/a" or b'"plan":"free"' in row.properties,
    ),
    "everything": (EVERYTHING, lambda _: True),
    "nothing": (AnyOf(()), lambda _: False),
}


@pytest.mark.parametrize(("filters", "test"), FILTERS.values(), ids=FILTERS)
def test_a_filter_chooses_events_and_the_sessions_that_hold_them(
    world: World, filters: Filter, test: oracle.Test
) -> None:
    span = span_of("2026-03-22", "2026-03-29")
    question = OverviewQuestion(Selection(1, span, filters))

    answer = world.ask(lambda cursor, lake: answer_overview(cursor, lake, question, {}))

    assert answer.total == oracle.figures(world.rows, 1, span, test)
    bots = [row for row in world.rows if row.web.is_bot]
    unmasked = [msgspec.structs.replace(row, web=msgspec.structs.replace(row.web, is_bot=False)) for row in bots]
    assert answer.bots == len(oracle.chosen(unmasked, 1, span, test))


def _breakdown(world: World, dimension: str, span: TimeRange) -> dict[str, BreakdownRow]:
    question = BreakdownQuestion(Selection(1, span), dimension, limit=1000)
    answer = world.ask(lambda cursor, lake: answer_breakdown(cursor, lake, question, {}))
    assert answer.total == len(answer.rows)
    assert [row.visitors for row in answer.rows] == sorted((row.visitors for row in answer.rows), reverse=True)
    return {row.value: row for row in answer.rows}


def test_breakdowns_by_the_event_equal_the_oracle(world: World) -> None:
    span = span_of("2026-03-22", "2026-03-29")
    assert _breakdown(world, "event", span) == oracle.by_event(world.rows, 1, span, lambda row: row.event)
    assert _breakdown(world, "country", span) == oracle.by_event(world.rows, 1, span, lambda row: row.web.country)
    pages = oracle.by_event(world.rows, 1, span, lambda row: row.web.path if row.is_pageview else None)
    assert _breakdown(world, "path", span) == pages
    plans = _breakdown(world, "properties.plan", span)
    assert plans == oracle.by_event(world.rows, 1, span, lambda row: msgspec.json.decode(row.properties)["plan"])


def test_breakdowns_by_the_session_equal_the_oracle(world: World) -> None:
    span = span_of("2026-03-22", "2026-03-29")

    def page(rows: list[Row], place: int) -> str | None:
        named = [row.web.path for row in rows if row.web.path is not None]
        return named[place] if named else None

    assert _breakdown(world, "entryPath", span) == oracle.by_session(world.rows, 1, span, lambda s: page(s.views, 0))
    assert _breakdown(world, "exitPath", span) == oracle.by_session(world.rows, 1, span, lambda s: page(s.views, -1))


def test_a_page_of_a_breakdown(world: World) -> None:
    span = span_of("2026-03-22", "2026-03-29")

    def asked(limit: int, offset: int) -> list[str]:
        question = BreakdownQuestion(Selection(1, span), "path", "pageviews", limit, offset)
        answer = world.ask(lambda cursor, lake: answer_breakdown(cursor, lake, question, {}))
        assert answer.total == 3
        return [row.value for row in answer.rows]

    assert asked(2, 0) + asked(2, 2) == asked(10, 0)
