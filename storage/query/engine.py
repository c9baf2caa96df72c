"""DuckDB as the process holds it: one database, a cursor a question, bounded in every direction."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

import duckdb
import pyarrow as pa

from storage.errors import StorageError, Unavailable
from storage.lake.place import SCHEME, Place, let_read, store_failure

T = TypeVar("T")
Row = tuple[Any, ...]


def memory_share(parts: int) -> int:
    """A part of the machine's memory, and not too little: sessions of a month are sorted in it."""
    return max(512 * 1024 * 1024, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // parts)


@dataclass(frozen=True, slots=True)
class EnginePolicy:
    """How much of the machine questions may take."""

    threads: int = os.cpu_count() or 1
    # Questions wait here while all threads are busy; a longer line would outlast the callers' patience.
    waiting: int = 64
    memory_bytes: int = field(default_factory=lambda: memory_share(8))
    timeout_seconds: float = 30.0
    # Rows without ORDER BY come as they are stored; it costs memory.
    keeps_order: bool = False


class Cursor:
    """What one piece of work may do with the database; used by one thread."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, seconds: float) -> None:
        """`seconds` is the time that all of the work has."""
        self._connection = connection
        self.seconds = seconds

    def rows(self, sql: str, parameters: Sequence[object] | Mapping[str, object]) -> list[Row]:
        """All rows of one statement, its values bound by place or by name."""
        return self._connection.execute(sql, _bound(parameters)).fetchall()

    def arrow(
        self, sql: str, parameters: Sequence[object] | Mapping[str, object], batch_rows: int
    ) -> pa.RecordBatchReader:
        """The rows of one statement as they are made; read within the work."""
        return self._connection.sql(sql, params=_bound(parameters)).to_arrow_reader(batch_rows)


class QueryEngine:
    """Runs work with a cursor in a bounded pool of threads; close it to end the threads."""

    def __init__(self, lake: Place | str, policy: EnginePolicy | None = None) -> None:
        self.policy = policy or EnginePolicy()
        self._database = open_database(str(lake), self.policy)
        self._pool = ThreadPoolExecutor(self.policy.threads, thread_name_prefix="query")
        self._places = threading.Semaphore(self.policy.threads + self.policy.waiting)

    def submit(self, work: Callable[[Cursor], T]) -> Future[T]:
        """Start the work as soon as a thread is free.

        Raises Unavailable at once when too many wait, and out of the future when the work takes too
        long or too much memory.
        """
        if not self._places.acquire(blocking=False):
            raise Unavailable("too many questions at once, try again in a moment")
        try:
            future = self._pool.submit(self._run, work)
        except RuntimeError as error:
            self._places.release()
            raise Unavailable("the query engine is closed") from error
        future.add_done_callback(lambda _: self._places.release())
        return future

    def _run(self, work: Callable[[Cursor], T]) -> T:
        connection = self._database.cursor()
        is_late = threading.Event()

        def interrupt() -> None:
            is_late.set()
            connection.interrupt()

        timer = threading.Timer(self.policy.timeout_seconds, interrupt)
        timer.daemon = True
        timer.start()
        try:
            return work(Cursor(connection, self.policy.timeout_seconds))
        except duckdb.InterruptException as error:
            raise Unavailable(
                f"the question took longer than {self.policy.timeout_seconds:g} s, ask for a shorter range"
            ) from error
        except duckdb.OutOfMemoryException as error:
            raise Unavailable("the question needs more memory than allowed, ask for a shorter range") from error
        except duckdb.IOException as error:
            raise Unavailable(f"a file of the lake could not be read: {_first_line(error)}") from error
        except duckdb.Error as error:
            if said := store_failure(error):
                raise Unavailable(f"a file of the lake could not be read: {said}") from error
            raise StorageError(f"DuckDB refused a statement: {_first_line(error)}") from error
        finally:
            timer.cancel()
            # The timer may be about to interrupt: a closed connection takes that badly.
            timer.join()
            connection.close()

    def close(self) -> None:
        """Wait for running work, drop waiting work, close the database."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_database(lake: str, policy: EnginePolicy) -> duckdb.DuckDBPyConnection:
    """A database that can read the lake, and open or change nothing else."""
    database = duckdb.connect(
        ":memory:",
        config={
            "threads": policy.threads,
            "memory_limit": f"{policy.memory_bytes}B",
            # Without a place to spill, a question too large fails instead of filling the disk.
            "temp_directory": "",
            "preserve_insertion_order": policy.keeps_order,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    database.execute("SET GLOBAL TimeZone = 'UTC'")
    # Files never change: their footers are read once. (An option of an extension, so not for connect's config.)
    database.execute("SET GLOBAL parquet_metadata_cache = true")
    let_read(database, [lake])
    # The lake's files and nothing else; this must come before external access ends.
    folder = (lake if lake.startswith(SCHEME) else os.path.abspath(lake)).replace("'", "''")
    database.execute(f"SET allowed_directories = ['{folder}']")
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")
    return database


def _bound(parameters: Sequence[object] | Mapping[str, object]) -> list[object] | dict[str, object]:
    return dict(parameters) if isinstance(parameters, Mapping) else list(parameters)


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]
