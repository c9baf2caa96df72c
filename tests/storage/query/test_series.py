"""Numbers over time from both plans, against the oracle."""

import json
import random
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeAlias
from zoneinfo import ZoneInfo

import pytest

from schemas.filters import equals
from schemas.instants import from_millis
from schemas.questions import InvalidQuestion
from schemas.rows import Row
from schemas.selection import Selection
from schemas.series import Metric, Series, parse_measure
from schemas.windows import Interval, TimeRange
from storage.query.planner import plan, without_rollups
from tests import oracle, oracle_figures
from tests.factories import LakeWriter, event_row
from tests.storage.query.asking import Asker, asking, series_question, span_of, values_of

Judge: TypeAlias = Callable[[Iterable[Row], int, TimeRange, Callable[[datetime], str]], dict[str, int]]
JUDGES: dict[Metric, Judge] = {
    Metric.EVENTS_COUNT: oracle.events_count,
    Metric.UNIQUE_USERS: oracle.unique_users,
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
                properties=b'{"price":%d}' % draw.randrange(100) if draw.random() < 0.5 else b'{"price":"dear"}',
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
    ask: Asker, rows: list[Row], metric: Metric, interval: Interval, zone: str, span_name: str
) -> None:
    span = span_of(*SPANS[span_name], zone)
    question = series_question(metric, span, interval, zone)
    expected = JUDGES[metric](rows, 1, span, partial(oracle.label, interval=interval, zone=ZoneInfo(zone)))
    for planned in (plan(question), without_rollups(question)):
        answer = ask.series(question, planned)
        assert values_of(question, answer) == expected, answer.plan


@pytest.mark.parametrize("metric", JUDGES)
def test_one_event_is_counted_alone_by_both_plans(ask: Asker, rows: list[Row], metric: Metric) -> None:
    span = span_of(*SPANS["partial hours"])
    question = series_question(metric, span, Interval.DAY)
    question = replace(question, selection=replace(question.selection, filters=equals("event", "click")))
    clicks = [row for row in rows if row.event == "click"]
    expected = JUDGES[metric](clicks, 1, span, partial(oracle.label, interval=Interval.DAY, zone=ZoneInfo("UTC")))
    assert sum(expected.values()) > 0
    for planned in (plan(question), without_rollups(question)):
        answer = ask.series(question, planned)
        assert values_of(question, answer) == expected, answer.plan


def test_plans_use_what_they_say(ask: Asker) -> None:
    answer = ask.series(series_question(Metric.UNIQUE_USERS, span_of(*SPANS["partial hours"])))
    assert (answer.plan, str(answer.accuracy)) == ("rollups+events", "sketch; error=0.008")
    answer = ask.series(series_question(Metric.UNIQUE_USERS, span_of(*SPANS["partial hours"]), is_exact=True))
    assert (answer.plan, str(answer.accuracy)) == ("events", "exact")


def test_pageviews_are_the_same_by_name_and_by_column(ask: Asker, rows: list[Row]) -> None:
    span = span_of(*SPANS["partial hours"])
    question = series_question(Metric.PAGEVIEWS, span, Interval.MONTH)
    expected = sum(row.is_pageview for row in oracle.listed(rows, 1, span))
    for planned in (plan(question), without_rollups(question)):
        assert sum(values_of(question, ask.series(question, planned)).values()) == expected > 0


def test_people_of_a_bucket_are_merged_not_added(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    for hour in range(24):
        writer.append([event_row(START + timedelta(hours=hour, minutes=5), f"u{n}") for n in range(hour, hour + 40)])
    question = series_question(Metric.UNIQUE_USERS, span_of("2026-03-20", "2026-03-20"))
    with asking(writer.place) as ask:
        answer = ask.series(question)
    assert (answer.plan, answer.series[0].data) == ("rollups", (63,))


def test_empty_lake_answers_zero(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    with asking(writer.place) as ask:
        for metric in Metric:
            question = series_question(metric, span_of("2026-03-20T00:30:00", "2026-03-21"))
            [series] = ask.series(question).series
            assert {value or 0 for value in series.data} == {0}


FIGURES = {
    Metric.SESSIONS: "sessions",
    Metric.BOUNCE_RATE: "bounce_rate",
    Metric.AVG_SESSION_DURATION: "avg_session_duration",
    Metric.AVG_TIME_ON_PAGE: "avg_time_on_page",
    Metric.VIEWS_PER_SESSION: "views_per_session",
}


@pytest.mark.parametrize("metric", FIGURES)
@pytest.mark.parametrize("zone", ZONES)
def test_figures_of_sessions_are_those_of_each_bucket(ask: Asker, rows: list[Row], metric: Metric, zone: str) -> None:
    span = span_of(*SPANS["partial hours"], zone)
    question = series_question(metric, span, Interval.WEEK, zone)
    parts = [TimeRange(bucket.start, bucket.end) for bucket in question.buckets]
    expected = tuple(getattr(oracle_figures.figures(rows, 1, part), FIGURES[metric]) for part in parts)
    assert ask.series(question).series == (Series(str(metric), expected),)


def test_id_of_a_session_that_is_heard_again_after_a_day_is_a_new_one(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    writer.append([event_row(START + timedelta(days=day), "u1", session="s1") for day in (0, 3, 3.9, 10)])
    question = series_question(Metric.SESSIONS, span_of("2026-03-23", "2026-04-01"), Interval.MONTH)
    with asking(writer.place) as ask:
        assert values_of(question, ask.series(question)) == {"2026-03-01": 2}


def test_people_are_new_once(ask: Asker, rows: list[Row]) -> None:
    span = span_of(*SPANS["partial hours"])
    question = series_question(Metric.NEW_USERS, span)
    clicked = replace(question, selection=replace(question.selection, filters=equals("event", "click")))
    label = partial(oracle.label, interval=Interval.DAY, zone=ZoneInfo("UTC"))
    firsts: dict[str, Row] = {}
    for row in reversed(oracle.listed(rows, 1, span_of("2026-01-01", "2027-01-01"))):
        if row.distinct_id:
            firsts.setdefault(row.distinct_id, row)
    for asked, names in ((question, {"click", "page_view"}), (clicked, {"click"})):
        expected: dict[str, float] = {}
        for row in firsts.values():
            at = from_millis(row.timestamp)
            if span.start <= at < span.end and row.event in names:
                expected[label(at)] = expected.get(label(at), 0) + 1
        assert values_of(asked, ask.series(asked)) == expected
        assert expected


@pytest.mark.parametrize("text", ["sum:price", "avg:price", "min:price", "max:price", "p50:price", "p90:price"])
def test_measures_of_a_property_know_numbers_alone(ask: Asker, rows: list[Row], text: str) -> None:
    span = span_of(*SPANS["partial hours"])
    question = replace(series_question(Metric.EVENTS_COUNT, span), measure=parse_measure(text))
    [series] = ask.series(question).series
    measures: dict[str, Callable[[list[int]], float]] = {
        "sum": sum,
        "avg": statistics.mean,
        "min": min,
        "max": max,
        "p50": statistics.median,
        "p90": lambda found: statistics.quantiles(found, n=10, method="inclusive")[8],
    }
    assert series.name == text
    for bucket, value in zip(question.buckets, series.data, strict=True):
        part = oracle.listed(rows, 1, TimeRange(bucket.start, bucket.end))
        prices = [price for row in part if isinstance(price := json.loads(row.properties).get("price"), int)]
        assert value == (pytest.approx(measures[text.partition(":")[0]](prices)) if len(prices) > 1 else value)
    empty = replace(question, selection=Selection(9, span))
    assert set(ask.series(empty).series[0].data) == {0 if text == "sum:price" else None}


def test_largest_values_have_a_series_each_and_the_others_one(ask: Asker, rows: list[Row]) -> None:
    span = span_of(*SPANS["whole days"])
    question = replace(series_question(Metric.EVENTS_COUNT, span, Interval.WEEK), dimension="distinctId", limit=3)
    series = ask.series(question).series
    counts: dict[str, int] = {}
    for row in oracle.listed(rows, 1, span):
        counts[row.distinct_id] = counts.get(row.distinct_id, 0) + 1
    largest = sorted(counts, key=lambda name: (-counts[name], name))[:3]
    assert [one.name for one in series] == [*largest, "other"]
    assert [one.is_other for one in series] == [False, False, False, True]
    sums = [sum(value or 0 for value in one.data) for one in series]
    assert sums[:3] == [counts[name] for name in largest]
    assert sum(sums) == sum(counts.values())


def test_sessions_are_of_no_single_event() -> None:
    question = series_question(Metric.SESSIONS, span_of(*SPANS["whole days"]))
    with pytest.raises(InvalidQuestion, match="Invalid parameter: breakdown"):
        replace(question, dimension="path")
