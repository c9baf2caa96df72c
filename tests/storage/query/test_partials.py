"""Buckets that are over are counted once, and again when anything that may be in them changed."""

import random
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from schemas.figures import Figures, OverviewAnswer, OverviewQuestion
from schemas.rows import Row
from schemas.selection import Selection
from schemas.series import Measure, Metric, SeriesAnswer, SeriesQuestion
from schemas.windows import Bucket, Interval, TimeRange, buckets
from storage.query.engine import Row as Found
from storage.query.overview import answer_overview
from storage.query.partials import Partials
from storage.query.planner import plan
from storage.query.series import answer_series
from tests import oracle_figures as oracle
from tests.factories import LakeWriter, event_row
from tests.storage.query.asking import Asker, asking, span_of
from tests.storage.query.test_overview import ALIASES, some_events

SPAN = span_of("2026-03-15", "2026-04-05")


class Counted(Partials):
    """Remembers which buckets or days were counted."""

    def __init__(self, capacity: int = 50_000) -> None:
        super().__init__(capacity)
        self.counted: list[str] = []

    def put(self, key: Hashable, files: Sequence[str], aliases: Mapping[str, str] | None, figures: Found) -> None:
        assert isinstance(key, tuple)
        self.counted.append(key[-1].label if isinstance(key[-1], Bucket) else str(key[-1]))
        super().put(key, files, aliases, figures)


def _ask(
    ask: Asker, kept: Partials, aliases: Mapping[str, str], span: TimeRange = SPAN, zone: str = "UTC"
) -> OverviewAnswer:
    question = OverviewQuestion(Selection(1, span), tuple(buckets(span, Interval.DAY, ZoneInfo(zone))))
    return ask(lambda cursor, lake: answer_overview(cursor, lake, question, aliases, kept))


def _whole(ask: Asker, kept: Partials, aliases: Mapping[str, str], span: TimeRange) -> OverviewAnswer:
    question = OverviewQuestion(Selection(1, span))
    return ask(lambda cursor, lake: answer_overview(cursor, lake, question, aliases, kept))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_figures_are_those_of_the_oracle_as_rows_come(tmp_path: Path, zone: str) -> None:
    draw = random.Random(8)
    writer = LakeWriter(tmp_path)
    rows: list[Row] = []
    kept = Counted()
    span = span_of("2026-03-20", "2026-03-31", zone)
    with asking(tmp_path) as ask:
        for number in range(4):
            more = [
                msgspec.structs.replace(row, kafka_offset=1000 * number + place)
                for place, row in enumerate(some_events(draw, 60))
            ]
            rows += more
            writer.append(more)
            for aliases in ({}, ALIASES):
                answer = _ask(ask, kept, aliases, span, zone)
                assert answer.total == oracle.figures(rows, 1, span, aliases=aliases)
                points = buckets(span, Interval.DAY, ZoneInfo(zone))
                parts = [TimeRange(point.start, point.end) for point in points]
                assert list(answer.series) == [oracle.figures(rows, 1, part, aliases=aliases) for part in parts]
                assert _ask(ask, kept, aliases, span).total == answer.total
                assert _whole(ask, kept, aliases, span) == replace(answer, series=())
                plain = _ask(ask, Partials(), aliases, span, zone)
                assert (plain.total, plain.bots) == (answer.total, answer.bots)


def test_only_what_changed_is_counted_again(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path)
    writer.append([event_row(datetime(2026, 3, day, 12, tzinfo=UTC), "u1") for day in range(15, 32)])
    kept = Counted()
    with asking(tmp_path) as ask:
        whole = _ask(ask, kept, ALIASES)
        assert len(kept.counted) == len(whole.series) == 22
        kept.counted.clear()
        # The days of a range without buckets are the same.
        assert _whole(ask, kept, ALIASES, SPAN) == replace(whole, series=())
        assert _ask(ask, kept, ALIASES) == whole
        assert kept.counted == []
        writer.append([event_row("2026-03-28T10:00:00", "u2")])
        assert _ask(ask, kept, ALIASES).total.events == whole.total.events + 1
        # A session of the day before may go on in it, and one that began the day after in an hour before.
        assert kept.counted == ["2026-03-26", "2026-03-27", "2026-03-28", "2026-03-29"]
        kept.counted.clear()
        assert _ask(ask, kept, {"u2": "u1"}).total.visitors == 1
        assert len(kept.counted) == 22


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path)
    writer.append([event_row("2026-03-28T10:00:00", "u2")])
    kept = Counted(capacity=10)
    with asking(tmp_path) as ask:
        first = _ask(ask, kept, {})
        assert _ask(ask, kept, {}) == first
        assert _whole(ask, kept, {}, span_of("2020-01-01", "2020-02-01")).total == Figures()
    assert len(kept.counted) == 44


def _series(ask: Asker, kept: Partials, metric: Metric, span: TimeRange = SPAN) -> SeriesAnswer:
    question = SeriesQuestion(Selection(1, span), Measure(metric), tuple(buckets(span, Interval.HOUR, ZoneInfo("UTC"))))
    planned = plan(question)
    assert planned.rollups is not None
    return ask(lambda cursor, lake: answer_series(cursor, lake, question, {}, planned, kept))


@pytest.mark.parametrize("metric", [Metric.EVENTS_COUNT, Metric.PAGEVIEWS])
def test_hours_of_rollups_are_read_again_where_a_commit_came(tmp_path: Path, metric: Metric) -> None:
    writer = LakeWriter(tmp_path)
    rows = [event_row(datetime(2026, 3, day, 12, tzinfo=UTC), "u1", "pageview") for day in range(15, 32)]
    writer.append([msgspec.structs.replace(row, kafka_offset=place) for place, row in enumerate(rows)])
    kept = Counted()
    with asking(tmp_path) as ask:
        first = _series(ask, kept, metric)
        assert sum(value or 0 for value in first.series[0].data) == 17
        assert len(kept.counted) == 17
        kept.counted.clear()
        assert _series(ask, kept, metric) == first
        # Of a day that is asked for in part, all of it is known.
        part = TimeRange(datetime(2026, 3, 20, 13, tzinfo=UTC), datetime(2026, 3, 22, 13, tzinfo=UTC))
        assert sum(value or 0 for value in _series(ask, kept, metric, part).series[0].data) == 2
        assert kept.counted == []
        late = event_row("2026-03-28T10:00:00", "u2", "pageview")
        writer.append([msgspec.structs.replace(late, kafka_offset=100)])
        assert _series(ask, kept, metric).series == _series(ask, Partials(), metric).series != first.series
        assert kept.counted == ["2026-03-28"]
