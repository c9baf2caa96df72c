"""Numbers over time from both plans, against the oracle."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeAlias
from zoneinfo import ZoneInfo

import pytest

from schemas.questions import MetricKind
from schemas.rows import Row
from schemas.windows import Interval, TimeRange
from storage.query.planner import plan, without_rollups
from tests import oracle
from tests.factories import LakeWriter, event_row
from tests.storage.query.asking import Asker, asking, metric_question, span_of

Judge: TypeAlias = Callable[[Iterable[Row], int, TimeRange, Callable[[datetime], str]], dict[str, int]]
JUDGES: dict[MetricKind, Judge] = {
    MetricKind.EVENTS_COUNT: oracle.events_count,
    MetricKind.UNIQUE_USERS: oracle.unique_users,
    MetricKind.SESSIONS: oracle.sessions,
}
START = datetime(2026, 3, 20, tzinfo=UTC)
SPANS = {
    "whole days": ("2026-03-20", "2026-04-02"),
    "partial hours": ("2026-03-22T03:17:00", "2026-03-31T11:42:31.500"),
    "within an hour": ("2026-03-25T05:10:00", "2026-03-25T05:50:00"),
    "across two hours": ("2026-03-25T05:10:00", "2026-03-25T06:50:00"),
    "nothing there": ("2020-01-01", "2020-01-03"),
}
# Spring forward is on 2026-03-29 in Berlin; Kolkata is half an hour off; New York moved before.
ZONES = ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York"]


def _people(draw: random.Random, count: int) -> list[Row]:
    rows = []
    for _ in range(count):
        at = START + timedelta(seconds=draw.randrange(14 * 86_400), milliseconds=draw.randrange(1000))
        person = draw.choice(["", *(f"u{number}" for number in range(40))])
        session = draw.choice([None, None, None, f"s{draw.randrange(60)}"])
        name = draw.choice(["click", "page_view", "$heartbeat"])
        rows.append(
            event_row(
                at,
                person,
                name,
                project=draw.choice([1, 1, 1, 2]),
                session=session,
                is_bot=draw.random() < 0.05,
                is_system=name == "$heartbeat",
            )
        )
        if draw.random() < 0.3:
            # Company within and around the half hour that parts sessions.
            rows.append(event_row(at + timedelta(minutes=draw.choice([1, 29, 30, 31])), person, "click"))
    return rows


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return _people(random.Random(20260320), 1500)


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> Iterator[Asker]:
    writer = LakeWriter(tmp_path_factory.mktemp("series") / "lake")
    for start in range(0, len(rows), 400):
        # Several flushes, so that a key has several partials.
        writer.append(rows[start : start + 400])
    with asking(writer.place) as ask:
        yield ask


@pytest.mark.parametrize("metric", JUDGES)
@pytest.mark.parametrize("interval", list(Interval))
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("span_name", SPANS)
def test_both_plans_say_what_the_oracle_says(
    ask: Asker, rows: list[Row], metric: MetricKind, interval: Interval, zone: str, span_name: str
) -> None:
    span = span_of(*SPANS[span_name], zone)
    question = metric_question(metric, span, interval, zone)
    expected = JUDGES[metric](rows, 1, span, partial(oracle.label, interval=interval, zone=ZoneInfo(zone)))
    for planned in (plan(question), without_rollups(question)):
        answer = ask.metric(question, planned)
        assert {point.date: point.value for point in answer.points if point.value} == expected, answer.plan
        assert [point.date for point in answer.points] == sorted(point.date for point in answer.points)


@pytest.mark.parametrize("metric", [MetricKind.EVENTS_COUNT, MetricKind.UNIQUE_USERS])
def test_one_event_is_counted_alone_by_both_plans(ask: Asker, rows: list[Row], metric: MetricKind) -> None:
    span = span_of(*SPANS["partial hours"])
    question = replace(metric_question(metric, span, Interval.DAY), event="click")
    clicks = [row for row in rows if row.event == "click"]
    expected = JUDGES[metric](clicks, 1, span, partial(oracle.label, interval=Interval.DAY, zone=ZoneInfo("UTC")))
    assert sum(expected.values()) > 0
    for planned in (plan(question), without_rollups(question)):
        answer = ask.metric(question, planned)
        assert {point.date: point.value for point in answer.points if point.value} == expected, answer.plan


def test_plans_use_what_they_say(ask: Asker) -> None:
    question = metric_question(MetricKind.UNIQUE_USERS, span_of(*SPANS["partial hours"]))
    answer = ask.metric(question)
    assert (answer.plan, str(answer.accuracy)) == ("rollups+events", "sketch; error=0.008")
    exact = metric_question(MetricKind.UNIQUE_USERS, span_of(*SPANS["partial hours"]), is_exact=True)
    answer = ask.metric(exact)
    assert (answer.plan, str(answer.accuracy)) == ("events", "exact")


def test_pageviews_are_the_same_by_name_and_by_column(ask: Asker, rows: list[Row]) -> None:
    span = span_of(*SPANS["partial hours"])
    question = metric_question(MetricKind.PAGEVIEWS, span, Interval.MONTH)
    expected = sum(row.is_pageview for row in oracle.listed(rows, 1, span))
    for planned in (plan(question), without_rollups(question)):
        answer = ask.metric(question, planned)
        assert sum(point.value for point in answer.points) == expected > 0


def test_people_of_a_bucket_are_merged_not_added(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    for hour in range(24):
        writer.append([event_row(START + timedelta(hours=hour, minutes=5), f"u{n}") for n in range(hour, hour + 40)])
    question = metric_question(MetricKind.UNIQUE_USERS, span_of("2026-03-20", "2026-03-20"))
    with asking(writer.place) as ask:
        answer = ask.metric(question)
    assert (answer.plan, [point.value for point in answer.points]) == ("rollups", [63])


def test_named_session_counts_once_where_it_began(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    writer.append([event_row(START + timedelta(days=day), "u1", session="s1") for day in (0, 3, 10)])
    question = metric_question(MetricKind.SESSIONS, span_of("2026-03-23", "2026-04-01"), Interval.MONTH)
    with asking(writer.place) as ask:
        answer = ask.metric(question)
    assert [point.value for point in answer.points] == [0, 0]


def test_empty_lake_answers_zero(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    with asking(writer.place) as ask:
        for metric in MetricKind:
            question = metric_question(metric, span_of("2026-03-20T00:30:00", "2026-03-21"))
            answer = ask.metric(question)
            assert [point.value for point in answer.points] == [0, 0]
