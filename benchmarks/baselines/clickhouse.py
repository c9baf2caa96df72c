"""`python -m benchmarks.baselines.clickhouse DIRECTORY LAKE`: chdb answers statements, a line of JSON each.

A process of its own, with packages of its own: those of the project stay what they are.
"""

import json
import sys
import time
from typing import Any

_COLUMNS = (
    "project_id, event, distinct_id, session_id, timestamp, is_pageview, properties, path, referrer_domain, country,"
    " browser, device"
)


def main() -> None:
    """Load the lake's files into a table, say so, and answer until the input ends."""
    from chdb import session  # type: ignore[import-not-found]

    directory, lake = sys.argv[1:]
    server = session.Session(directory)
    server.query("CREATE DATABASE bench ENGINE = Atomic")
    server.query(
        "CREATE TABLE bench.events ENGINE = MergeTree ORDER BY (project_id, timestamp) AS"
        f" SELECT {_COLUMNS} FROM file('{lake}/events/date=*/*.parquet', Parquet)"
        " SETTINGS schema_inference_make_columns_nullable = 0"
    )
    server.query("OPTIMIZE TABLE bench.events FINAL")
    server.query("USE bench")
    _say({"rows": _numbers(server.query("SELECT count(*) FROM events", "TabSeparated"))[0]})
    for line in sys.stdin:
        started = time.perf_counter()
        answer = server.query(json.loads(line), "TabSeparated")
        seconds = time.perf_counter() - started
        _say({"seconds": seconds, "total": sum(_numbers(answer))})


def _numbers(answer: Any) -> list[float]:
    """The last column."""
    return [float(line.rpartition("\t")[2]) for line in str(answer).splitlines() if line]


def _say(answer: dict[str, float]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
