"""Retention and paths against plain Python."""

import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from schemas.filters import EVERYTHING, equals
from schemas.instants import from_millis
from schemas.paths import Direction, PathsQuestion
from schemas.questions import InvalidQuestion
from schemas.retention import RetentionQuestion, parse_unit
from schemas.rows import Row
from schemas.selection import Selection
from schemas.windows import Interval, buckets
from storage.query.paths import answer_paths
from storage.query.retention import answer_retention
from tests import oracle_figures
from tests.factories import LakeWriter, event_row
from tests.oracle import label
from tests.storage.query.asking import asking, span_of

START = datetime(2026, 3, 20, tzinfo=UTC)
ALIASES = {"u1": "u2"}


def _events(seed: int, count: int) -> list[Row]:
    draw = random.Random(seed)
    return [
        event_row(
            START + timedelta(minutes=draw.randrange(20 * 24 * 60)),
            draw.choice(["", *(f"u{number}" for number in range(9))]),
            draw.choice(["signup", "open", "open", "buy"]),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize("unit", ["day", "week", "month"])
@pytest.mark.parametrize(("born", "back"), [("signup", "open"), (None, None), ("signup", "signup")])
def test_retention_equals_the_oracle(tmp_path: Path, born: str | None, back: str | None, unit: str, zone: str) -> None:
    rows = _events(5, 120)
    LakeWriter(tmp_path).append(rows)
    span = span_of("2026-03-21", "2026-04-05", zone)
    interval = parse_unit(unit)
    points = tuple(buckets(span, interval, ZoneInfo(zone)))
    filters = [equals("event", name) if name else EVERYTHING for name in (born, back)]
    with asking(tmp_path) as ask:
        question = RetentionQuestion(Selection(1, span), points, *filters)
        answer = ask(lambda cursor, lake: answer_retention(cursor, lake, question, ALIASES))

    labels = [point.label for point in points]
    people: dict[str, list[Row]] = defaultdict(list)
    for row in oracle_figures.chosen(rows, 1, span, lambda _: True):
        if row.distinct_id:
            people[oracle_figures.person_of(row, ALIASES)].append(row)
    sizes: Counter[int] = Counter()
    values: Counter[tuple[int, int]] = Counter()
    for events in people.values():
        events.sort(key=lambda row: (row.timestamp, row.kafka_offset))
        births = [place for place, row in enumerate(events) if born in (None, row.event)]
        if births:
            place = [labels.index(label(from_millis(row.timestamp), interval, ZoneInfo(zone))) for row in events]
            first = place[births[0]]
            sizes[first] += 1
            later = {
                at - first for at, row in zip(place, events, strict=True) if back in (None, row.event) and at > first
            }
            if any(place[at] == first and back in (None, events[at].event) for at in range(births[0] + 1, len(events))):
                later.add(0)
            values.update((first, step) for step in later)
    assert [cohort.size for cohort in answer.cohorts] == [sizes[at] for at in range(len(labels))]
    assert [list(cohort.values) for cohort in answer.cohorts] == [
        [values[at, step] for step in range(len(labels) - at)] for at in range(len(labels))
    ]


def test_too_many_cohorts_and_odd_units() -> None:
    span = span_of("2020-01-01", "2026-01-01")
    with pytest.raises(InvalidQuestion):
        RetentionQuestion(Selection(1, span), tuple(buckets(span, Interval.DAY, ZoneInfo("UTC"))))
    with pytest.raises(InvalidQuestion):
        parse_unit("hour")


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("length", [1, 3])
def test_paths_equal_the_oracle(tmp_path: Path, direction: Direction, length: int) -> None:
    rows = _events(8, 300)
    LakeWriter(tmp_path).append(rows)
    span = span_of("2026-03-20", "2026-04-15")
    question = PathsQuestion(Selection(1, span), equals("event", "signup"), direction, length=length, limit=1000)
    with asking(tmp_path) as ask:
        answer = ask(lambda cursor, lake: answer_paths(cursor, lake, question, {}))

    expected: Counter[tuple[str, ...]] = Counter()
    for session in oracle_figures.sessions(rows, 1, span, lambda _: True):
        names = [row.event for row in session.ordinary]
        if "signup" not in names:
            continue
        after = direction is Direction.AFTER
        near = names[names.index("signup") :] if after else names[: len(names) - names[::-1].index("signup")]
        steps = [name for name, _ in groupby(near)]
        expected[tuple(steps[: length + 1] if after else steps[-length - 1 :])] += 1
    assert {path.path: path.count for path in answer.paths} == expected
    assert answer.total == sum(expected.values())


def test_a_path_of_no_length() -> None:
    with pytest.raises(InvalidQuestion, match="length"):
        PathsQuestion(Selection(1, span_of("2026-03-20", "2026-04-15")), EVERYTHING, length=0)
