"""An analyst's DuckDB of the release line before ours reads both files, with the same numbers and types."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.lake.publication import Publisher, publish
from tests.storage.lake import readers
from tests.storage.lake.river import River
from tests.storage.lake.test_publication import NOW, clean_log, expected

# Beside the environment and not in it: two versions cannot share site-packages.
OLDER = Path(sys.prefix) / "older-duckdb"


class OlderReader:
    """A process that reads a lake with the older DuckDB."""

    def __init__(self, lake: Path) -> None:
        assert (OLDER / "duckdb").is_dir(), f"{OLDER} is missing: run `make install-dev`"
        self._process = subprocess.Popen(
            [sys.executable, readers.__file__, str(lake)],
            env={**os.environ, "PYTHONPATH": str(OLDER)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.version = self._answer()

    def ask(self, way: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{way}\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=20)
        self._process.stdout.close()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the older DuckDB failed: see its traceback above"
        return json.loads(line)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    place = tmp_path / "lake"
    place.mkdir()
    return place


@pytest.fixture
def older(lake: Path) -> Iterator[OlderReader]:
    reader = OlderReader(lake)
    try:
        yield reader
    finally:
        reader.close()


def test_it_is_older(older: OlderReader) -> None:
    assert older.version.startswith("1.")


def test_every_version_reads_the_same(lake: Path, older: OlderReader) -> None:
    river = River(lake, checkpoint_interval=20)
    publisher = Publisher(lake)
    for turn in range(45):
        river.step(turn)
        publisher.step(NOW)
        assert older.ask("database") == expected(river.now)
        assert older.ask("script") == expected(river.now)
        if turn == 30:
            clean_log(lake)
    assert readers.from_glob(lake) != river.now.rows


def test_it_sees_the_same_columns_and_types(lake: Path, older: OlderReader) -> None:
    River(lake).append()
    publish(lake)
    assert older.ask("columns") == readers.columns(lake)


def test_in_a_subquery_of_a_query_with_the_same_names(lake: Path, older: OlderReader) -> None:
    River(lake).append()
    publish(lake)
    assert older.ask("around") == [1, 1]
