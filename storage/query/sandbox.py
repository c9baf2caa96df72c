"""SQL of a project over its own rows, in a process of its own that can open nothing and is killed in time."""

import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import msgspec
import pyarrow as pa

from schemas.selection import Selection
from schemas.windows import TimeRange
from storage.errors import Refused, Unavailable
from storage.lake.sessions import SILENCE
from storage.lake.snapshot import relation
from storage.lake.tables import EVENTS, ROLLUPS
from storage.query.engine import Cursor
from storage.query.lake import DAWN, Lake, within
from storage.query.rows import Rows

_CELL = Path(__file__).with_name("cell.py")
_BATCH_ROWS = 10_000
ALWAYS = TimeRange(DAWN, datetime(9999, 12, 30, tzinfo=UTC))

# The tables of a statement, with what each column is.
_SESSIONS = {
    "project_id": "{project}",
    "session_id": "session_id",
    "person_id": "nullif(person, '')",
    "started_at": "timestamp",
    "ended_at": "ended",
    "date": "timestamp::DATE",
    "duration_seconds": "round(duration)::BIGINT",
    "events": "events",
    "pageviews": "pageviews",
    "entry_path": "entry_path",
    "exit_path": "exit_path",
    "referrer_domain": "referrer_domain",
    "country": "country",
    "device": "device",
    "is_bounce": "is_bounce",
    "is_open": "ended > {open_since}",
}
TABLES: dict[str, list[str]] = {
    "events": list(EVENTS.names),
    "visits": [*EVENTS.names, "person_id"],
    "sessions": list(_SESSIONS),
    "rollups": list(ROLLUPS.names),
}


@dataclass(frozen=True, slots=True)
class SandboxPolicy:
    """How much one statement may take. Kernel limits are a little above DuckDB's, which it does not always keep."""

    seconds: int = 5  # of the statement; reading the rows for it has the time of any question
    memory_bytes: int = 512 * 1024 * 1024
    spare_bytes: int = 384 * 1024 * 1024
    rows: int = 10_000
    answer_bytes: int = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SqlQuestion:
    """One SELECT over the rows of a project in a range."""

    project: int
    statement: str
    span: TimeRange = ALWAYS


@dataclass(frozen=True, slots=True)
class SqlAnswer:
    """The rows, of which there may have been more."""

    table: pa.Table
    truncated: bool
    version: int

    def rows(self) -> list[list[Any]]:
        """Values as JSON has them; `default` of the encoder does the rest."""
        columns = [column.to_pylist() for column in self.table.columns]
        return [list(row) for row in zip(*columns, strict=True)] if columns else []

    def arrow(self) -> bytes:
        """An Arrow IPC stream."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.table.schema) as stream:
            stream.write_table(self.table)
        content: bytes = sink.getvalue().to_pybytes()
        return content


def ask_sql(
    cursor: Cursor, lake: Lake, question: SqlQuestion, aliases: Mapping[str, str], policy: SandboxPolicy
) -> SqlAnswer:
    """Run it. Raises Refused for what the process refuses, Unavailable where it was killed."""
    version = lake.version("events")
    with _process(cursor.seconds) as (incoming, outgoing, watch):
        try:
            needs = _said(_send(incoming, outgoing, question, policy))["needs"]
            for name, columns in needs.items():
                _pour(cursor, lake, question, aliases, name, columns, incoming)
            incoming.flush()
            watch.set(policy.seconds)
            told = _said(_line(outgoing))
            table = pa.ipc.open_stream(outgoing).read_all()
        except (BrokenPipeError, pa.ArrowInvalid, EOFError) as error:
            if watch.is_late:
                raise Unavailable(f"the statement took longer than {policy.seconds} s") from error
            raise Refused(
                "the statement needs more memory or time than allowed: name fewer columns, or a range"
            ) from error
    return SqlAnswer(table, told["truncated"], version)


@contextmanager
def _process(seconds: float) -> Iterator[tuple[IO[bytes], IO[bytes], "_Watch"]]:
    """A fresh process with nothing of this one's environment; it is gone afterwards, whatever happened."""
    process = subprocess.Popen(
        [sys.executable, "-I", str(_CELL)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"ARROW_DEFAULT_MEMORY_POOL": "system"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    # It starts and reads within the time of a question; only its statement has less.
    watch = _Watch(process, seconds)
    try:
        yield process.stdin, process.stdout, watch
    finally:
        watch.end()
        process.kill()
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        process.wait()


class _Watch:
    """Kills the process when its time is up."""

    def __init__(self, process: "subprocess.Popen[bytes]", seconds: float) -> None:
        self.is_late = False
        self._process = process
        self._timer = self._start(seconds)

    def set(self, seconds: float) -> None:
        """Begin a new, shorter time."""
        self._timer.cancel()
        self._timer = self._start(seconds)

    def end(self) -> None:
        """No more time is measured."""
        self._timer.cancel()
        self._timer.join()

    def _start(self, seconds: float) -> threading.Timer:
        timer = threading.Timer(seconds, self._kill)
        timer.daemon = True
        timer.start()
        return timer

    def _kill(self) -> None:
        self.is_late = True
        self._process.kill()


def _send(incoming: IO[bytes], outgoing: IO[bytes], question: SqlQuestion, policy: SandboxPolicy) -> dict[str, Any]:
    order = {
        "statement": question.statement,
        "tables": TABLES,
        "seconds": policy.seconds,
        "memory": policy.memory_bytes,
        "spare": policy.spare_bytes,
        "rows": policy.rows,
        "bytes": policy.answer_bytes,
    }
    incoming.write(msgspec.json.encode(order) + b"\n")
    incoming.flush()
    return _line(outgoing)


def _line(outgoing: IO[bytes]) -> dict[str, Any]:
    line = outgoing.readline()
    if not line:
        raise EOFError
    told: dict[str, Any] = msgspec.json.decode(line)
    return told


def _said(told: dict[str, Any]) -> dict[str, Any]:
    if (error := told.get("error")) is not None:
        raise Refused(error)
    return told


def _pour(
    cursor: Cursor,
    lake: Lake,
    question: SqlQuestion,
    aliases: Mapping[str, str],
    name: str,
    columns: list[str],
    incoming: IO[bytes],
) -> None:
    """One table of the statement, as an Arrow stream into the process."""
    assert set(columns) <= set(TABLES[name])
    sql, parameters = _SOURCES[name](lake, question, aliases, columns)
    with cursor.arrow(sql, parameters, _BATCH_ROWS) as reader, pa.ipc.new_stream(incoming, reader.schema) as stream:
        for batch in reader:
            stream.write_batch(batch)


def _events(
    lake: Lake, question: SqlQuestion, aliases: Mapping[str, str], columns: list[str], where: str = "true"
) -> tuple[str, Mapping[str, object]]:
    everything = Selection(question.project, question.span, includes_bots=True)
    rows = Rows(lake, everything, aliases, sees_sessions=False)
    person = "nullif(person, '') AS person_id"
    listed = ", ".join(person if column == "person_id" else f'"{column}"' for column in columns)
    return f"SELECT {listed} FROM ({rows.source()}) WHERE {where}", rows.parameters.values


def _visits(
    lake: Lake, question: SqlQuestion, aliases: Mapping[str, str], columns: list[str]
) -> tuple[str, Mapping[str, object]]:
    return _events(lake, question, aliases, columns, "NOT is_bot AND NOT is_system")


def _sessions(
    lake: Lake, question: SqlQuestion, aliases: Mapping[str, str], columns: list[str]
) -> tuple[str, Mapping[str, object]]:
    rows = Rows(lake, Selection(question.project, question.span), aliases, sees_sessions=True)
    ctes = rows.sessions({name: name for name in ("referrer_domain", "country", "device")})
    listed = []
    for column in columns:
        expression = _SESSIONS[column]
        if "{open_since}" in expression:
            expression = expression.format(open_since=rows.parameters.bind(datetime.now(UTC) - SILENCE))
        listed.append(f'{expression.format(project=question.project)} AS "{column}"')
    return f"WITH {ctes} SELECT {', '.join(listed)} FROM sessions", rows.parameters.values


def _rollups(
    lake: Lake, question: SqlQuestion, aliases: Mapping[str, str], columns: list[str]
) -> tuple[str, list[object]]:
    span = question.span
    source, files = relation(lake.snapshot("rollups", within(question.project, span, "hour")))
    listed = ", ".join(f'"{column}"' for column in columns)
    where = "project_id = ? AND hour >= ? AND hour < ?"
    return f"SELECT {listed} FROM {source} WHERE {where}", [*files, question.project, span.start, span.end]


_SOURCES: dict[str, Any] = {"events": _events, "visits": _visits, "sessions": _sessions, "rollups": _rollups}
