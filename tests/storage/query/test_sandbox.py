"""Statements of people we need not trust: what they see, what is refused, and when they are killed."""

import os
import random
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from schemas.figures import OverviewQuestion
from schemas.rows import Row
from schemas.selection import Selection
from storage.errors import Refused, Unavailable
from storage.lake.tables import EVENTS
from storage.query.overview import answer_overview
from storage.query.sandbox import SandboxPolicy, SqlAnswer, SqlQuestion, ask_sql
from tests.factories import LakeWriter, event_row
from tests.storage.query.asking import Asker, asking, span_of
from tests.storage.query.test_overview import ALIASES, some_events

POLICY = SandboxPolicy(seconds=2, memory_bytes=200 * 1024 * 1024, rows=1000, answer_bytes=1024 * 1024)


@dataclass(frozen=True)
class World:
    rows: list[Row]
    ask: Asker
    place: Path

    def sql(self, statement: str, policy: SandboxPolicy = POLICY, project: int = 1, **question: Any) -> SqlAnswer:
        asked = SqlQuestion(project, statement, **question)
        return self.ask(lambda cursor, lake: ask_sql(cursor, lake, asked, ALIASES, policy))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    place = tmp_path_factory.mktemp("lake")
    rows = list(some_events(random.Random(2), 200))
    LakeWriter(place).append(rows)
    with asking(place) as ask:
        yield World(rows, ask, place)


def test_tables_hold_the_rows_of_one_project(world: World) -> None:
    own = [row for row in world.rows if row.project_id == 1]
    foreign = len(world.rows) - len(own)
    assert world.sql("SELECT count(*), count(DISTINCT project_id) FROM events").rows() == [[len(own), 1]]
    assert world.sql("SELECT count(*) FROM EVENTS", project=2).rows() == [[foreign]]
    assert world.sql("SELECT sum(count)::BIGINT FROM rollups WHERE dimension = ''").rows()[0][0] < len(own)
    assert world.sql("SELECT * FROM events").table.column_names == EVENTS.names


def test_numbers_are_those_of_the_api(world: World) -> None:
    span = span_of("2026-03-22", "2026-03-29")
    question = OverviewQuestion(Selection(1, span))
    figures = world.ask(lambda cursor, lake: answer_overview(cursor, lake, question, ALIASES)).total
    visits = world.sql(
        "SELECT count(*), count(DISTINCT nullif(person_id, '')), count(*) FILTER (is_pageview) FROM visits", span=span
    )
    assert visits.rows() == [[figures.events, figures.visitors, figures.pageviews]]
    sessions = world.sql(
        "SELECT count(*), round(avg(is_bounce::INT) * 100, 1), count(*) FILTER (is_open) FROM sessions", span=span
    )
    assert sessions.rows() == [[figures.sessions, figures.bounce_rate, 0]]


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("WITH a AS (SELECT event FROM events) SELECT count(*) > 0 FROM a JOIN range(3) ON true", [[True]]),
        ("SELECT 1 AS a, 2 AS a", [[1, 2]]),
        ("VALUES (1), (2)", [[1], [2]]),
        ("SELECT e.event IS NOT NULL FROM (SELECT e FROM events e LIMIT 1) AS t(e)", [[True]]),
        ("SELECT count(*) > 0 FROM events NATURAL JOIN (SELECT event FROM events)", [[True]]),
        ("SELECT unnest([1, 2]) AS x", [[1], [2]]),
        ('SELECT max(n) FROM (SELECT "Event", count(*) AS n FROM events GROUP BY ALL) WHERE n < 0', [[None]]),
        ("SELECT DISTINCT typeof(timestamp) FROM events", [["TIMESTAMP WITH TIME ZONE"]]),
    ],
)
def test_statements_that_are_answered(world: World, statement: str, rows: list[list[Any]]) -> None:
    assert world.sql(statement).rows() == rows


HOSTILE = [
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM 'https://example.com/x.parquet'",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM events, glob('*')",
    "SELECT (SELECT content FROM read_text('/etc/passwd'))",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('events')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM parquet_metadata('/x')",
    "SELECT * FROM incoming",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM system.main.duckdb_tables",
    "SELECT * FROM sandbox",
    "SELECT getenv('HOME')",
    "COPY events TO 'x.csv'",
    "COPY (SELECT 1) TO '/tmp/x.csv'",
    "ATTACH 'x.db'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET memory_limit = '100GB'",
    "PRAGMA database_list",
    "EXPORT DATABASE 'x'",
    "CREATE TABLE x AS SELECT 1",
    "DROP TABLE events",
    "CREATE SECRET (TYPE s3)",
    "CALL pragma_version()",
    "CHECKPOINT",
    "SELECT 1; SELECT 2",
    "SELECT 1; COPY events TO 'x.csv'",
    "",
    "SELECT",
    "SELECT * FROM nowhere",
    "SELECT luck FROM events",
    "WITH events AS (SELECT * FROM read_csv('/etc/passwd')) SELECT * FROM events",
    "SELECT " + "(" * 20_000 + "1" + ")" * 20_000,
]


@pytest.mark.parametrize("statement", HOSTILE, ids=lambda text: text[:50])
def test_hostile_statements_are_refused(world: World, statement: str) -> None:
    before = sorted(os.listdir("/tmp")), sorted(os.listdir(world.place))
    with pytest.raises((Refused, Unavailable)):
        world.sql(statement)
    assert sorted(os.listdir(world.place)) == before[1]
    assert not (Path("/tmp") / "x.csv").exists()


HUNGRY = [
    "SELECT count(*) FROM range(1000000) a, range(1000000) b",
    "SELECT length(repeat('a', 2000000000))",
    "SELECT list_aggregate(range(2000000000), 'sum')",
    "SELECT count(*) FROM (SELECT DISTINCT hash(a.range * 1000003 + b.range) FROM range(100000) a, range(10000) b)",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t",
    "SELECT string_agg(repeat('x', 1000000), '') FROM range(100000)",
]


@pytest.mark.parametrize("statement", HUNGRY, ids=lambda text: text[:50])
def test_hungry_statements_are_stopped_in_time_and_memory(world: World, statement: str) -> None:
    before = _largest_child()
    started = time.monotonic()
    with pytest.raises((Refused, Unavailable)):
        world.sql(statement)
    assert time.monotonic() - started < 10
    # The statement's memory, what is spare, and the libraries; a child of another test may have held more.
    most = POLICY.memory_bytes + POLICY.spare_bytes + 300 * 1024 * 1024
    assert _largest_child() <= max(most, before)


def _largest_child() -> int:
    """Bytes that the largest child so far held."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def test_answers_are_cut(world: World) -> None:
    few = world.sql("SELECT * FROM range(1001)")
    assert (few.table.num_rows, few.truncated) == (1000, True)
    assert not world.sql("SELECT * FROM range(1000)").truncated
    fat = world.sql("SELECT repeat('x', 100000) AS x FROM range(100)")
    assert fat.truncated
    assert 0 < fat.table.num_rows < 100
    assert fat.table.nbytes <= POLICY.answer_bytes


def test_open_sessions_are_marked(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path)
    writer.append([event_row(datetime.now(UTC), "u7"), event_row("2026-03-22T10:00:00", "u2")])
    with asking(tmp_path) as ask:
        answer = World([], ask, tmp_path).sql("SELECT person_id, is_open FROM sessions ORDER BY started_at")
    assert answer.rows() == [["u2", False], ["u7", True]]
