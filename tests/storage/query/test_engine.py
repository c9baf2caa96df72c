"""The engine's bounds, each reached."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.errors import StorageError, Unavailable
from storage.query.engine import Cursor, EnginePolicy, QueryEngine, Row

_ENDLESS = "SELECT count(*) FROM range(1000000000) AS a, range(1000) AS b"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[QueryEngine]:
    with QueryEngine(tmp_path, EnginePolicy(threads=1, waiting=1, memory_bytes=64 * 1024 * 1024)) as engine:
        yield engine


def _rows(engine: QueryEngine, sql: str, *parameters: object) -> list[Row]:
    return engine.submit(lambda cursor: cursor.rows(sql, parameters)).result()


def test_values_are_bound(engine: QueryEngine) -> None:
    assert _rows(engine, "SELECT ?, ?", "'; DROP TABLE x; --", 7) == [("'; DROP TABLE x; --", 7)]


def test_zone_is_utc_in_every_cursor(engine: QueryEngine) -> None:
    assert _rows(engine, "SELECT current_setting('TimeZone')") == [("UTC",)]
    assert _rows(engine, "SELECT (TIMESTAMPTZ '2026-01-01 00:00:00+05:30')::VARCHAR") == [("2025-12-31 18:30:00+00",)]


def test_files_of_the_lake_can_be_read_and_no_others(engine: QueryEngine, tmp_path: Path) -> None:
    (tmp_path / "inside.csv").write_text("a\n1\n")
    assert _rows(engine, "SELECT a FROM read_csv(?)", str(tmp_path / "inside.csv")) == [(1,)]
    for statement in (
        "SELECT * FROM read_text('/etc/hostname')",
        f"COPY (SELECT 1) TO '{tmp_path.parent}/out.csv'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
    ):
        with pytest.raises(StorageError):
            _rows(engine, statement)


def test_long_work_is_interrupted(tmp_path: Path) -> None:
    with (
        QueryEngine(tmp_path, EnginePolicy(threads=1, timeout_seconds=0.2)) as engine,
        pytest.raises(Unavailable, match="the question took longer"),
    ):
        _rows(engine, _ENDLESS)


def test_engine_answers_after_an_interrupt(tmp_path: Path) -> None:
    with QueryEngine(tmp_path, EnginePolicy(threads=1, timeout_seconds=0.2)) as engine:
        with pytest.raises(Unavailable):
            _rows(engine, _ENDLESS)
        assert _rows(engine, "SELECT 1") == [(1,)]


def test_too_much_memory_is_refused(engine: QueryEngine) -> None:
    with pytest.raises(Unavailable, match="more memory than allowed"):
        _rows(engine, "SELECT count(DISTINCT i) FROM range(30000000) AS t(i)")


def test_missing_file_is_unavailable(engine: QueryEngine, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="could not be read"):
        _rows(engine, "SELECT * FROM read_parquet(?)", [str(tmp_path / "vacuumed.parquet")])


def test_statement_that_is_wrong_is_our_error(engine: QueryEngine) -> None:
    with pytest.raises(StorageError, match="DuckDB refused") as caught:
        _rows(engine, "SELECT nothing FROM nowhere")
    assert not isinstance(caught.value, Unavailable)


def test_questions_beyond_the_line_are_turned_away(engine: QueryEngine) -> None:
    gate, is_running = threading.Event(), threading.Event()

    def hold(_: Cursor) -> None:
        is_running.set()
        gate.wait(10)

    running, waiting = engine.submit(hold), engine.submit(hold)
    is_running.wait(10)
    with pytest.raises(Unavailable, match="too many questions"):
        engine.submit(hold)
    gate.set()
    running.result()
    waiting.result()
    assert _rows(engine, "SELECT 1") == [(1,)]


def test_closed_engine_says_so(tmp_path: Path) -> None:
    engine = QueryEngine(tmp_path)
    engine.close()
    with pytest.raises(Unavailable, match="closed"):
        engine.submit(lambda cursor: cursor.rows("SELECT 1", ()))
