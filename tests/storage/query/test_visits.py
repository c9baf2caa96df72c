"""The analysts' views `visits` and `identities` say what the API says."""

import random
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import msgspec
import pytest

from schemas.figures import Figures, OverviewAnswer, OverviewQuestion
from schemas.people import ALIAS, ALIAS_UNDO
from schemas.rows import Row
from schemas.selection import Selection
from schemas.windows import Interval, buckets
from storage.lake.publication import publish
from storage.query.engine import Cursor
from storage.query.identities import Identities
from storage.query.lake import Lake
from storage.query.overview import answer_overview
from tests.factories import LakeWriter, event_row
from tests.storage.query.asking import asking, span_of
from tests.storage.query.test_overview import START, some_events

COUNTED = "count(*), count(*) FILTER (is_pageview), count(DISTINCT person_id)"


def _aliases(draw: random.Random, count: int) -> Iterator[Row]:
    """Aliases of a few people and of what they never sent; some undone, some that say nothing."""
    ids = [f"{kind}{number}" for kind in "ux" for number in range(10)]
    for _ in range(count):
        said = {"alias": draw.choice([*ids * 2, "", None, 7, "\0"])} if draw.random() < 0.95 else {}
        yield event_row(
            START,
            draw.choice([*ids, ""]),
            draw.choice([ALIAS, ALIAS, ALIAS, ALIAS_UNDO]),
            project=draw.choice([1, 1, 2]),
            properties=msgspec.json.encode(said),
            is_system=True,
        )


def _by_both_files(lake: Path, query: str) -> list[tuple[Any, ...]]:
    publish(lake)
    with duckdb.connect(str(lake / "lake.duckdb"), read_only=True) as connection:
        found = sorted(connection.execute(query).fetchall())
    with duckdb.connect(":memory:") as connection:
        connection.execute((lake / "lake.sql").read_text())
        assert sorted(connection.execute(query).fetchall()) == found
    return found


@pytest.mark.parametrize(("seed", "count"), [(1, 4), (2, 9), (3, 14), (4, 60)])
def test_people_pageviews_and_events_of_visits_are_those_of_the_api(tmp_path: Path, seed: int, count: int) -> None:
    draw = random.Random(seed)
    rows = [*some_events(draw, 150), *_aliases(draw, count)]
    draw.shuffle(rows)
    LakeWriter(tmp_path).append(rows)
    span = span_of("2026-03-01", "2026-04-30")
    points = tuple(buckets(span, Interval.DAY, ZoneInfo("UTC")))

    with asking(tmp_path) as ask:
        identities = Identities(ask.lake)
        for project in (1, 2):
            known = ask(partial(_known, identities, project))
            answer = ask(partial(_overview, OverviewQuestion(Selection(project, span), points), known))

            found = _by_both_files(tmp_path, f"SELECT alias, person_id FROM identities WHERE project_id = {project}")
            assert len(found) == len(dict(found))
            assert dict(found) == known
            of_project = f"FROM visits WHERE project_id = {project}"
            assert _by_both_files(tmp_path, f"SELECT {COUNTED} {of_project}") == [_counted(answer.total)]
            by_day = _by_both_files(tmp_path, f'SELECT {COUNTED} {of_project} GROUP BY "date"')
            assert by_day == sorted(_counted(figures) for figures in answer.series if figures.events)


def _known(identities: Identities, project: int, cursor: Cursor, lake: Lake) -> Mapping[str, str]:
    return identities.of(cursor, project)


def _overview(question: OverviewQuestion, known: Mapping[str, str], cursor: Cursor, lake: Lake) -> OverviewAnswer:
    return answer_overview(cursor, lake, question, known)


def _counted(figures: Figures) -> tuple[int, int, int]:
    return figures.events, figures.pageviews, figures.visitors
