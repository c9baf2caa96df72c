"""What an analyst does, in whatever DuckDB runs this: prints the numbers found in a lake's two files.

Run as a program it answers one line of JSON for each line it reads, `database` or `script`.
Imports nothing of the project, so that an older DuckDB can run it.
"""

import json
import sys
from pathlib import Path

import duckdb

NUMBERS = """
SELECT version, count(kafka_offset), count(DISTINCT kafka_offset), coalesce(max(kafka_offset) + 1, 0),
  removed_rows, row_count
FROM lake_version LEFT JOIN events ON true WHERE table_name = 'events' GROUP BY version, removed_rows, row_count
"""


def from_database(lake: Path) -> list[int]:
    """The numbers by `lake.duckdb`, opened as analysts are told to."""
    with duckdb.connect(str(lake / "lake.duckdb"), read_only=True) as connection:
        return _numbers(connection)


def from_script(lake: Path) -> list[int]:
    """The numbers by `lake.sql`, in a database of the reader's own."""
    with duckdb.connect(":memory:") as connection:
        connection.execute((lake / "lake.sql").read_text())
        return _numbers(connection)


def from_glob(lake: Path) -> int:
    """The rows that a glob finds: never right for long."""
    with duckdb.connect(":memory:") as connection:
        found = connection.execute(f"SELECT count(*) FROM read_parquet('{lake}/events/**/*.parquet')").fetchone()
        assert found is not None
        return int(found[0])


def _numbers(connection: duckdb.DuckDBPyConnection) -> list[int]:
    found = connection.execute(NUMBERS).fetchone()
    assert found is not None
    return [int(number) for number in found]


# Names that the views use inside, as columns of a query around them.
AROUND = """
SELECT count(*) FROM (SELECT DATE '2026-03-01' AS "date", 'x' AS file, 'y' AS root, 1 AS v)
WHERE "date" IN (SELECT "date" FROM events) AND "date" IN (SELECT "date" FROM sessions)
AND "date" IN (SELECT "date" FROM visits)
"""


def around(lake: Path) -> list[int]:
    """How often a subquery over the views finds a date that is there, by both ways."""
    with duckdb.connect(str(lake / "lake.duckdb"), read_only=True) as connection:
        found = connection.execute(AROUND).fetchall()
    with duckdb.connect(":memory:") as connection:
        connection.execute((lake / "lake.sql").read_text())
        found += connection.execute(AROUND).fetchall()
    return [int(count) for (count,) in found]


def columns(lake: Path) -> dict[str, list[list[str]]]:
    """Names and types of every view, by both ways."""
    found = {}
    with duckdb.connect(str(lake / "lake.duckdb"), read_only=True) as connection:
        found["database"] = _columns(connection)
    with duckdb.connect(":memory:") as connection:
        connection.execute((lake / "lake.sql").read_text())
        found["script"] = _columns(connection)
    return found


def _columns(connection: duckdb.DuckDBPyConnection) -> list[list[str]]:
    return [
        [view, str(name), str(kind)]
        for view in ("events", "visits", "identities", "rollups", "sessions", "dead_letters", "lake_version")
        for name, kind, *_ in connection.execute(f"DESCRIBE {view}").fetchall()
    ]


def _serve(lake: Path) -> None:
    """Answer each line of the input."""
    print(json.dumps(duckdb.__version__), flush=True)
    ways = {"database": from_database, "script": from_script, "columns": columns, "around": around}
    for line in sys.stdin:
        print(json.dumps(ways[line.strip()](lake)), flush=True)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
