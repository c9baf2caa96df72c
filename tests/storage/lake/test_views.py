"""Sessions as the view computes them, case by case; against the oracle they are held where they are stored."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from storage.lake.publication import publish
from storage.lake.tables import SESSIONS, create_tables
from tests.storage.lake.river import event_rows

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def visit(minute: float, person: str = "ann", **columns: Any) -> dict[str, Any]:
    moment = NOON + timedelta(minutes=minute)
    return {"project_id": 1, "distinct_id": person, "timestamp": moment, "date": moment.date()} | columns


def numbered(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row | {"kafka_offset": offset} for offset, row in enumerate(rows)]


def sessions_of(lake: Path, rows: Sequence[dict[str, Any]], columns: str) -> list[tuple[Any, ...]]:
    create_tables(lake)
    write_deltalake(str(lake / "events"), event_rows(numbered(rows)), mode="append")
    publish(lake)
    return ask(lake, columns)


def ask(lake: Path, columns: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(lake / "lake.duckdb"), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        published = connection.execute(f"SELECT {columns} FROM sessions ORDER BY ALL").fetchall()
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute((lake / "lake.sql").read_text())
        assert connection.execute(f"SELECT {columns} FROM sessions ORDER BY ALL").fetchall() == published
    return published


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        ([visit(0), visit(30)], [2]),
        ([visit(0), visit(30.1)], [1, 1]),
        ([visit(0), visit(20), visit(50), visit(80)], [4]),
        ([visit(0), visit(5, "bob")], [1, 1]),
        ([visit(0), visit(5, project_id=2)], [1, 1]),
        ([visit(0, session_id="s"), visit(24 * 60, session_id="s")], [2]),
        ([visit(0, session_id="s"), visit(24 * 60 + 0.1, session_id="s")], [1, 1]),
        ([visit(0, session_id="s"), visit(1, "bob", session_id="s")], [2]),
        ([visit(0, session_id=""), visit(5)], [2]),
        ([visit(0, session_id="s"), visit(1)], [1, 1]),
        ([visit(0, ""), visit(1, "")], []),
        ([visit(0), visit(1, is_bot=True, bot_rule="r")], [1]),
        ([visit(0), visit(25, event="$heartbeat", is_system=True), visit(50)], [2]),
        ([visit(0), visit(25, event="$profile", is_system=True), visit(50)], [1, 1]),
        ([visit(0, event="$heartbeat", is_system=True)], []),
    ],
)
def test_what_makes_a_session(tmp_path: Path, rows: list[dict[str, Any]], counts: list[int]) -> None:
    assert [events for (events,) in sessions_of(tmp_path, rows, "events")] == counts


def test_every_column_of_a_session(tmp_path: Path) -> None:
    rows = [
        visit(719, is_pageview=True, path="/in", referrer_domain="a.example", country="NL", device="mobile"),
        visit(722, is_pageview=True, path="/out", country="DE"),
        visit(730.5, event="$heartbeat", is_system=True, path="/never"),
    ]
    (found,) = sessions_of(tmp_path, rows, "*")
    start = NOON + timedelta(minutes=719)
    assert dict(zip([*SESSIONS.names, "person_id", "is_open"], found, strict=True)) == {
        "project_id": 1,
        "session_id": f"ann@{int(start.timestamp() * 1000)}",
        "distinct_id": "ann",
        "started_at": start,
        "ended_at": NOON + timedelta(minutes=730.5),
        "date": start.date(),
        "duration_seconds": 690,
        "events": 2,
        "pageviews": 2,
        "entry_path": "/in",
        "exit_path": "/out",
        "referrer_domain": "a.example",
        "country": "NL",
        "device": "mobile",
        "is_bounce": False,
        "person_id": "ann",
        "is_open": True,
    }


def test_stored_dates_are_taken_from_the_table(tmp_path: Path) -> None:
    sessions_of(tmp_path, [visit(0), visit(60 * 24)], "*")
    stored = pa.table(
        {
            field.name: pa.array(
                [
                    {"session_id": "stored", "distinct_id": "ann", "date": NOON.date(), "is_bounce": True}.get(
                        field.name, NOON if pa.types.is_timestamp(field.type) else None if field.nullable else 9
                    )
                ],
                field.type,
            )
            for field in SESSIONS
        },
        schema=SESSIONS,
    )
    write_deltalake(str(tmp_path / "sessions"), stored, mode="append")
    publish(tmp_path)
    assert ask(tmp_path, "date::VARCHAR, events, is_open") == [("2026-03-01", 9, False), ("2026-03-02", 1, True)]


def test_time_on_page_lengthens_a_session_and_clears_a_bounce(tmp_path: Path) -> None:
    told = '{"timeOnPage": 90.5, "isBounce": false}'
    rows = [visit(0, is_pageview=True), visit(1, event="$engagement", is_system=True, properties=told)]
    assert sessions_of(tmp_path, rows, "duration_seconds, is_bounce") == [(91, False)]
