"""`streamgauge sql` and `lake view` as an analyst meets them."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.cli.main import main
from api.cli.output import Failure
from api.cli.view import view
from tests.storage.lake.river import River


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "lake").mkdir()
    river = River(tmp_path / "lake")
    for turn in range(16):
        river.step(turn)
    return tmp_path


def ask(data: Path, statement: str, *options: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sql", statement, "--data-dir", str(data), *options])
    assert ended.value.code == 0


def complaint(capfd: pytest.CaptureFixture[str], data: Path, statement: str, *options: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["sql", statement, "--data-dir", str(data), *options])
    out, err = capfd.readouterr()
    assert ended.value.code not in (0, None)
    assert out == ""
    assert len(err.splitlines()) == 1
    return err.strip()


ROWS = 15 * 7
PEOPLE = "SELECT distinct_id, count(*) AS n FROM events GROUP BY ALL ORDER BY distinct_id"
EXPECTED = [{"distinct_id": f"user-{person}", "n": ROWS // 5} for person in range(5)]


def test_a_table_for_people(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ask(data, PEOPLE)
    lines = [line.split() for line in capfd.readouterr().out.splitlines()]
    assert lines == [["distinct_id", "n"], *([row["distinct_id"], str(row["n"])] for row in EXPECTED)]


def test_a_table_is_cut_and_says_so(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ask(data, "SELECT kafka_offset FROM events ORDER BY 1")
    out, err = capfd.readouterr()
    assert out.split() == ["kafka_offset", *map(str, range(100))]
    assert err == "the first 100 rows: --format csv gives all of them\n"


def test_csv_gives_every_row(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ask(data, "FROM events ORDER BY kafka_offset", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(capfd.readouterr().out)))
    assert [int(row["kafka_offset"]) for row in rows] == list(range(ROWS))
    assert rows[0]["timestamp"] == "2026-03-01T12:00:00Z"
    assert (rows[0]["is_bot"], rows[0]["device"]) == ("false", "")


def test_json_is_an_array_of_objects(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ask(data, PEOPLE, "--format", "json")
    assert json.loads(capfd.readouterr().out) == EXPECTED


def test_every_kind_of_value_is_json(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    statement = """SELECT 'nan'::DOUBLE AS a, 1.50::DECIMAL(5, 2) AS b, [1, NULL] AS c, {'x': DATE '2026-03-01'} AS d,
        TIMESTAMPTZ '2026-03-01 10:00:00+02' AS e, sum(1) AS f, 1 AS g, 2 AS g, NULL AS h"""
    ask(data, statement, "--format", "json")
    assert json.loads(capfd.readouterr().out) == [
        {"a": None, "b": 1.5, "c": [1, None], "d": {"x": "2026-03-01"}, "e": "2026-03-01T08:00:00Z"}
        | {"f": 1, "g": 1, "g_1": 2, "h": None}
    ]


def test_no_rows_is_an_empty_array(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ask(data, "FROM dead_letters", "--format", "json")
    assert json.loads(capfd.readouterr().out) == []


def test_nested_values_are_json_in_csv(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ask(data, "SELECT [1, 2] AS list, {'a': 'x'} AS struct, 'é,\n' AS text, 'ab'::BLOB AS raw", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(capfd.readouterr().out, newline=""))
    assert row == {"list": "[1,2]", "struct": '{"a":"x"}', "text": "é,\n", "raw": "6162"}


def test_parquet_into_a_file(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "people.parquet"
    ask(data, PEOPLE, "--format", "parquet", "--output", str(target))
    assert pq.ParquetFile(target).read().to_pylist() == EXPECTED
    assert pl.read_parquet(target).to_dicts() == EXPECTED
    assert [path.name for path in tmp_path.glob("people*")] == ["people.parquet"]


def test_arrow_as_a_stream(data: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    ask(data, PEOPLE, "--format", "arrow")
    with pa.ipc.open_stream(capfdbinary.readouterr().out) as stream:
        assert stream.read_all().to_pylist() == EXPECTED


def test_sessions_and_versions_can_be_asked(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    statement = """SELECT version, row_count, (SELECT sum(events) FROM sessions) AS in_sessions
        FROM lake_version WHERE table_name = 'events'"""
    ask(data, statement, "--format", "json")
    assert json.loads(capfd.readouterr().out) == [{"version": 16, "row_count": ROWS, "in_sessions": ROWS}]


@pytest.mark.parametrize(
    ("statement", "line"),
    [
        ("SELEC 1", 'Parser Error: syntax error at or near "SELEC"'),
        ("SELECT nothing FROM events", 'Binder Error: Referenced column "nothing" not found'),
        ("SELECT 1; SELECT 2", "give one statement, not 2"),
        ("  -- nothing", "give one statement, not 0"),
        ("DROP VIEW events", "only SELECT is possible here, not DROP"),
        ("SET threads = 1", "only SELECT is possible here, not SET"),
        ("COPY events TO 'stolen.csv'", "only SELECT is possible here, not COPY"),
        ("ATTACH 'other.duckdb'", "only SELECT is possible here, not ATTACH"),
        ("FROM read_csv('/etc/passwd')", "Permission Error: Cannot access file"),
        ("FROM '/etc/passwd'", "Catalog Error: Table with name /etc/passwd does not exist"),
        ("FROM glob('/*')", "Permission Error: Cannot access file"),
        ("SELECT error('of the data')", "Invalid Input Error: of the data"),
    ],
)
def test_what_is_not_possible_is_one_line(
    data: Path, capfd: pytest.CaptureFixture[str], statement: str, line: str
) -> None:
    for options in ((), ("--format", "csv", "--output", str(data / "out.csv"))):
        assert complaint(capfd, data, statement, *options).startswith(f"streamgauge: {line}")
    assert {path.name for path in data.iterdir()} == {"lake"}


def test_python_variables_are_not_tables(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    secret = pa.table({"a": [1]})
    assert secret.num_rows == 1
    assert "Table with name secret does not exist" in complaint(capfd, data, "FROM secret")


def test_files_of_the_lake_that_are_not_pinned_are_closed(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stranger = data / "lake" / "events" / "stranger.parquet"
    pq.write_table(pa.table({"a": [1]}), stranger)
    assert "Permission Error" in complaint(capfd, data, f"FROM read_parquet('{stranger}')")


def test_a_missing_lake(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = complaint(capfd, tmp_path, "SELECT 1")
    assert line.startswith(f"streamgauge: no lake at {tmp_path}/lake")
    assert line.endswith("the first start of Streamgauge makes its tables")


def test_a_file_that_vanished_is_an_error_and_not_a_number(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for path in (data / "lake" / "events").rglob("*.parquet"):
        path.unlink()
    assert "a file of the lake could not be read" in complaint(capfd, data, "SELECT sum(kafka_offset) FROM events")


def test_a_table_does_not_go_into_a_file(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "choose csv, json, parquet or arrow" in complaint(capfd, data, "SELECT 1", "--output", str(data / "x"))


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_a_terminal_gets_no_bytes(
    data: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "name a file with --output" in complaint(capfd, data, "SELECT 1", "--format", form)


def test_a_reader_that_has_enough_is_no_error(data: Path) -> None:
    statement = "SELECT repeat('x', 1000) AS x FROM events, range(100)"
    command = [sys.executable, "-m", "api.cli", "sql", statement, "--format", "csv", "--data-dir", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(2) == b"x\n"
        process.stdout.close()
        assert (process.wait(60), process.stderr.read()) == (0, b"")


def test_view_prints_the_path_and_makes_the_file(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    view(data)
    out, err = capsys.readouterr()
    assert out == f"{data}/lake/lake.duckdb\n"
    assert "duckdb -readonly" in err
    made = os.stat(data / "lake" / "lake.duckdb").st_ino
    view(data)
    assert os.stat(data / "lake" / "lake.duckdb").st_ino == made


def test_view_of_a_missing_lake(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="there is no lake at"):
        view(tmp_path)
