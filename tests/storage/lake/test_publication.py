"""`lake.duckdb` and `lake.sql` beside a writer: at every version the numbers are the table's own."""

import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from storage.errors import LakeBroken
from storage.lake.publication import Publisher, publish
from storage.lake.script import script
from storage.lake.tables import TABLES, TableName, create_tables
from storage.lake.views import DUCKDB_TYPES
from tests.storage.lake import readers
from tests.storage.lake.river import Numbers, River
from tests.test_lake_contract import ADDED_COLUMNS

NOW = datetime(2026, 3, 2, tzinfo=UTC)
LOG = "events/_delta_log"


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    place = tmp_path / "lake"
    place.mkdir()
    return place


def expected(numbers: Numbers) -> list[int]:
    assert numbers.rows == numbers.distinct == numbers.next - numbers.removed
    return [numbers.version, numbers.rows, numbers.distinct, numbers.next, numbers.removed, numbers.rows]


def by_delta(lake: Path, version: int) -> tuple[int, int]:
    """Rows and next offset by the table itself at a version, read with pyarrow."""
    table = DeltaTable(str(lake / "events"), version=version)
    paths = pa.table(table.get_add_actions())["path"].to_pylist()
    offsets = [
        offset
        for path in paths
        for offset in pq.ParquetFile(lake / "events" / path).read(["kafka_offset"])["kafka_offset"].to_pylist()
    ]
    return len(offsets), max(offsets, default=-1) + 1


def clean_log(lake: Path) -> int:
    """Remove what a checkpoint covers, as log clean-up does; returns the newest checkpoint's version."""
    base = max(int(path.name[:20]) for path in (lake / LOG).glob("*.checkpoint.parquet"))
    for path in (lake / LOG).iterdir():
        if path.name[:20].isdigit() and int(path.name[:20]) < base:
            path.unlink()
    return base


def run_on(text: str) -> tuple[list[str], duckdb.DuckDBPyConnection]:
    """Run a script as the command line does: on, over statements that fail. The messages, and the session."""
    connection = duckdb.connect(":memory:")
    return run_in(connection, text), connection


def run_in(connection: duckdb.DuckDBPyConnection, text: str) -> list[str]:
    messages = []
    for statement in connection.extract_statements(text):
        try:
            connection.execute(statement)
        except duckdb.Error as error:
            messages.append(str(error))
    return messages


def views(connection: duckdb.DuckDBPyConnection) -> set[str]:
    found = connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    return {str(name) for (name,) in found}


def test_every_version_reads_the_same_by_every_way(lake: Path) -> None:
    river = River(lake, checkpoint_interval=20)
    publisher = Publisher(lake)
    cleaned = set()
    for turn in range(62):
        river.step(turn)
        publisher.step(NOW)
        assert readers.from_database(lake) == expected(river.now)
        assert readers.from_script(lake) == expected(river.now)
        assert by_delta(lake, river.now.version) == (river.now.rows, river.now.next)
        if turn % 10 == 9 and list((lake / LOG).glob("*.checkpoint.parquet")):
            cleaned.add(clean_log(lake))
    assert len(cleaned) >= 2
    assert not (lake / LOG / f"{0:020d}.json").exists()
    assert readers.from_glob(lake) != river.now.rows, "the control is right: nothing was swapped"


def test_more_than_a_hundred_commits_are_read_from_the_default_checkpoint(lake: Path) -> None:
    river = River(lake)
    for turn in range(103):
        river.step(turn)
    assert clean_log(lake) == 99
    for turn in range(103, 106):
        river.step(turn)
        publish(lake)
        assert readers.from_script(lake) == readers.from_database(lake) == expected(river.now)


def test_a_checkpoint_without_its_own_entry_is_enough(lake: Path) -> None:
    river = River(lake, checkpoint_interval=5)
    while not list((lake / LOG).glob("*.checkpoint.parquet")):
        river.append()
    clean_log(lake)
    (lake / LOG / f"{river.now.version:020d}.json").unlink()
    (lake / "lake.sql").write_text(script(str(lake)))
    assert readers.from_script(lake) == expected(river.now)


def test_polars_reads_the_same_numbers(lake: Path) -> None:
    river = River(lake)
    for turn in range(42):
        river.step(turn)
    for version in (5, 15, river.now.version):
        numbers = river.seen[version]
        frame = pl.read_delta(str(lake / "events"), version=version)
        assert (frame.height, frame["kafka_offset"].n_unique()) == (numbers.rows, numbers.distinct)
        assert by_delta(lake, version) == (numbers.rows, numbers.next)


def test_readers_beside_a_writer_are_right_and_a_glob_is_not(lake: Path) -> None:
    river = River(lake, checkpoint_interval=20)
    river.append()  # a glob over no file at all is an error, and not the one that is meant
    publish(lake)
    stop = threading.Event()
    observed: dict[str, list[list[int]]] = {"database": [], "script": []}
    globbed: list[tuple[int, int, int]] = []
    failures: list[BaseException] = []

    def again(work: Callable[[], object]) -> Callable[[], None]:
        def loop() -> None:
            try:
                while not stop.is_set():
                    work()
            except BaseException as error:
                failures.append(error)
                stop.set()

        return loop

    def glob() -> None:
        before, found, after = river.now.rows, readers.from_glob(lake), river.now.rows
        globbed.append((before, found, after))

    threads = [
        threading.Thread(target=Publisher(lake).run, args=(stop,)),
        threading.Thread(target=again(lambda: observed["database"].append(readers.from_database(lake)))),
        threading.Thread(target=again(lambda: observed["script"].append(readers.from_script(lake)))),
        threading.Thread(target=again(glob)),
    ]
    for thread in threads:
        thread.start()
    turn = 0
    try:
        # At least ninety commits, and until a dozen versions were seen by each way.
        while not stop.is_set() and (turn < 90 or any(len({n[0] for n in o}) < 12 for o in observed.values())):
            river.step(turn)
            turn += 1
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures, str(failures[0])
    for way, found in observed.items():
        wrong = [numbers for numbers in found if numbers != expected(river.seen[numbers[0]])]
        assert not wrong, f"{len(wrong)} of {len(found)} readings by {way} were wrong: {wrong[:3]}"
    wrong_globs = [found for before, found, after in globbed if not before <= found <= after]
    assert wrong_globs, "the control passed: no swap was seen"


def test_an_empty_lake_has_every_column_with_its_type(lake: Path) -> None:
    create_tables(lake)
    publish(lake)
    found = readers.columns(lake)

    def of(view: str, table: TableName | None = None) -> list[list[str]]:
        columns = {field.name: DUCKDB_TYPES[str(field.type)] for field in TABLES[table].schema} if table else {}
        columns |= {name: kind for name, (kind, _) in ADDED_COLUMNS.get(view, {}).items()}
        return [[view, name, kind.replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE")] for name, kind in columns.items()]

    table_columns = [
        *of("events", "events"),
        *of("visits", "events"),
        *of("identities"),
        *of("rollups", "rollups"),
        *of("sessions", "sessions"),
        *of("dead_letters", "dead_letters"),
    ]
    version_columns = [
        ["lake_version", "table_name", "VARCHAR"],
        ["lake_version", "version", "BIGINT"],
        ["lake_version", "published_at", "TIMESTAMP WITH TIME ZONE"],
        ["lake_version", "row_count", "BIGINT"],
        ["lake_version", "removed_rows", "BIGINT"],
    ]
    assert found == {"database": table_columns + version_columns, "script": table_columns + version_columns}
    assert readers.from_database(lake) == readers.from_script(lake) == [0, 0, 0, 0, 0, 0]


def test_a_lake_with_rows_has_the_same_columns(lake: Path) -> None:
    create_tables(lake)
    publish(lake)
    empty = readers.columns(lake)
    River(lake).append()
    publish(lake)
    assert readers.columns(lake) == empty


def test_a_column_that_no_file_has_yet_is_null(lake: Path) -> None:
    river = River(lake)
    river.append()
    (path,) = {p for p in (lake / "events").rglob("*.parquet") if "date=2026-03-01" in str(p)}
    pq.write_table(pq.ParquetFile(path).read().drop_columns(["device", "utm_term"]), path)
    publish(lake)
    with duckdb.connect(str(lake / "lake.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*), count(device) FROM events").fetchone() == (7, 0)
    _, session = run_on((lake / "lake.sql").read_text())
    with session:
        assert session.execute("SELECT count(*), count(device) FROM events").fetchone() == (7, 0)


def test_odd_characters_in_the_path_of_the_lake(tmp_path: Path) -> None:
    lake = tmp_path / "it's a=b 100%" / "läke {name}"
    lake.mkdir(parents=True)
    river = River(lake)
    river.append()
    publish(lake)
    assert readers.from_database(lake) == readers.from_script(lake) == expected(river.now)
    assert all(view != "events" or column != "it's a" for view, column, _ in readers.columns(lake)["script"])


def _remove_entry(log: Path) -> None:
    (log / f"{2:020d}.json").unlink()


def _multi_part(log: Path) -> None:
    (log / f"{3:020d}.checkpoint.0000000001.0000000002.parquet").write_bytes(b"")


def _version_two(log: Path) -> None:
    (log / f"{3:020d}.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json").write_text("{}")


def _deletion_vectors(log: Path) -> None:
    table = DeltaTable(str(log.parent))
    table.alter.set_table_properties({"delta.enableDeletionVectors": "true"})


def _vector_in_an_entry(log: Path) -> None:
    entry = log / f"{3:020d}.json"
    entry.write_text(entry.read_text().replace('"tags":null', '"deletionVector":{"storageType":"u"}'))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_remove_entry, "has a gap"),
        (_multi_part, "of a form that lake.sql does not know"),
        (_version_two, "of a form that lake.sql does not know"),
        (_deletion_vectors, "has deletion vectors"),
        (_vector_in_an_entry, "has deletion vectors"),
    ],
)
def test_the_script_refuses_what_it_would_read_wrong(lake: Path, damage: Callable[[Path], None], message: str) -> None:
    river = River(lake)
    for _ in range(4):
        river.append()
    publish(lake)
    text = (lake / "lake.sql").read_text()
    messages, session = run_on(text)
    with session:
        assert messages == []
        assert session.execute("SELECT count(*) FROM events").fetchone() == (28,)
        damage(lake / LOG)
        messages = run_in(session, text)  # in the session that had read it before
        assert message in messages[0]
        assert views(session) == {"rollups", "dead_letters", "lake_version"}  # sessions are made of events


def test_the_script_says_that_there_is_no_lake(lake: Path) -> None:
    messages, session = run_on(script(str(lake)))
    with session:
        assert f"no Delta table at {lake}/events" in messages[0]
        assert views(session) <= {"lake_version"}


def test_a_table_with_deletion_vectors_is_not_published(lake: Path) -> None:
    River(lake).append()
    publish(lake)
    before = (lake / "lake.duckdb").read_bytes()
    _deletion_vectors(lake / LOG)
    with pytest.raises(LakeBroken, match="needs a Delta reader"):
        publish(lake)
    assert (lake / "lake.duckdb").read_bytes() == before


def test_a_missing_lake_is_one_clear_line(lake: Path) -> None:
    with pytest.raises(LakeBroken, match="no lake at"):
        publish(lake)
    assert list(lake.iterdir()) == []


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_are_read_only_and_nothing_is_left_aside(lake: Path) -> None:
    create_tables(lake)
    assert publish(lake) == {"events": 0, "rollups": 0, "sessions": 0, "dead_letters": 0}
    assert {mode_of(lake / name) for name in ("lake.duckdb", "lake.sql")} == {0o444}
    assert {path.name for path in lake.iterdir()} == {*TABLES, "lake.duckdb", "lake.sql"}


def test_the_group_reads_what_a_setting_gives_it(lake: Path) -> None:
    before = os.umask(0o077)
    try:
        lake.chmod(0o700)
        River(lake).append()
        publish(lake)
        assert mode_of(lake) == mode_of(lake / "events") == 0o700
        publish(lake, for_group=True)
    finally:
        os.umask(before)
    folders = [lake, *(path for path in lake.rglob("*") if path.is_dir())]
    assert {mode_of(path) for path in folders} == {0o750}
    assert {mode_of(path) for path in (lake / "events").rglob("*.*") if path.is_file()} == {0o640}
    assert {mode_of(lake / name) for name in ("lake.duckdb", "lake.sql")} == {0o440}


def test_a_file_without_its_row_count_makes_the_count_unknown(lake: Path) -> None:
    river = River(lake)
    river.append()
    entry = lake / LOG / f"{1:020d}.json"
    lines = [json.loads(line) for line in entry.read_text().splitlines()]
    for line in lines:
        line.get("add", {}).pop("stats", None)
    entry.write_text("\n".join(map(json.dumps, lines)))
    publish(lake)
    _, session = run_on((lake / "lake.sql").read_text())
    with session, duckdb.connect(str(lake / "lake.duckdb"), read_only=True) as connection:
        for way in (session, connection):
            found = way.execute("SELECT row_count FROM lake_version WHERE table_name = 'events'").fetchone()
            assert found == (None,)
            assert way.execute("SELECT count(*) FROM events").fetchone() == (7,)


def test_the_log_of_a_client_that_wrote_is_not_replayed(lake: Path) -> None:
    create_tables(lake)
    publish(lake)
    (lake / "lake.duckdb").chmod(0o644)
    with duckdb.connect(str(lake / "lake.duckdb")) as client:
        client.execute("PRAGMA disable_checkpoint_on_shutdown")
        client.execute("SET checkpoint_threshold = '1TB'")
        client.execute("CREATE TABLE intruder AS SELECT 1 AS one")
    assert (lake / "lake.duckdb.wal").exists(), "the fault did not bite"
    publish(lake)
    assert not (lake / "lake.duckdb.wal").exists()
    with duckdb.connect(str(lake / "lake.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM duckdb_tables()").fetchone() == (0,)


def test_a_failed_build_leaves_the_old_file(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    river = River(lake)
    river.append()
    publish(lake)
    river.append()

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("storage.lake.publication.files_select", full)
        with pytest.raises(OSError, match="No space left"):
            publish(lake)
    assert readers.from_database(lake) == expected(river.seen[1])
    assert not list(lake.glob(".lake.*"))


def test_what_a_killed_builder_left_is_removed_later(lake: Path) -> None:
    create_tables(lake)
    old, recent = lake / ".lake.duckdb.1.1", lake / ".lake.duckdb.2.2"
    for path in (old, recent):
        path.touch()
    os.utime(old, (1, 1))
    publish(lake)
    assert not old.exists()
    assert recent.exists()


def test_paths_are_shown_as_readers_see_them(lake: Path, tmp_path: Path) -> None:
    river = River(lake)
    river.append()
    mounted = tmp_path / "mounted"
    publish(lake, str(mounted))  # does not exist here, as a container's path does not on its host
    lake.rename(mounted)
    assert readers.from_database(mounted) == readers.from_script(mounted) == expected(river.now)
    assert str(lake) not in (mounted / "lake.sql").read_text()


def test_an_s3_prefix_needs_nothing_to_publish(lake: Path) -> None:
    River(lake).append()
    publish(lake, "s3://bucket/lake")
    assert "sg_log('s3://bucket/lake/events')" in (lake / "lake.sql").read_text()
    with duckdb.connect(str(lake / "lake.duckdb"), read_only=True) as connection:
        (text,) = connection.execute(
            "SELECT macro_definition FROM duckdb_functions() WHERE function_name = 'events_files'"
        ).fetchone() or ("",)
    assert "/events/date=2026-03-01/" in str(text)
    assert str(lake) not in str(text)


def test_attached_under_another_name(lake: Path) -> None:
    river = River(lake)
    river.append()
    publish(lake)
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"ATTACH '{lake / 'lake.duckdb'}' AS river (READ_ONLY)")
        assert connection.execute("SELECT count(*) FROM river.events").fetchone() == (river.now.rows,)
        assert connection.execute("SELECT count(*) > 0 FROM river.sessions").fetchone() == (True,)


def test_in_a_subquery_of_a_query_with_the_same_names(lake: Path) -> None:
    River(lake).append()
    publish(lake)
    assert readers.around(lake) == [1, 1]


def test_an_open_session_keeps_its_version(lake: Path) -> None:
    river = River(lake)
    river.append()
    publish(lake)
    with duckdb.connect(str(lake / "lake.duckdb"), read_only=True) as connection:
        before = connection.execute("SELECT count(*) FROM events").fetchone()
        river.swap()
        river.append()
        publish(lake)
        assert connection.execute("SELECT count(*) FROM events").fetchone() == before == (7,)
    assert readers.from_database(lake) == expected(river.now)


def test_a_vacuumed_file_is_an_error_and_never_a_number(lake: Path) -> None:
    river = River(lake)
    river.append()
    publish(lake)
    next((lake / "events").rglob("*.parquet")).unlink()
    with (
        duckdb.connect(str(lake / "lake.duckdb"), read_only=True) as connection,
        pytest.raises(duckdb.IOException),
    ):
        connection.execute("SELECT sum(kafka_offset) FROM events").fetchone()


def test_the_publisher_does_nothing_while_nothing_changed(lake: Path) -> None:
    river = River(lake)
    publisher = Publisher(lake)
    assert publisher.step(NOW)
    made = (lake / "lake.duckdb").stat().st_ino
    assert not publisher.step(NOW + timedelta(seconds=1))
    assert (lake / "lake.duckdb").stat().st_ino == made
    (lake / "lake.sql").unlink()
    assert publisher.step(NOW)
    river.append()
    assert publisher.step(NOW)
    assert readers.from_database(lake) == expected(river.now)


@contextmanager
def publishing(lake: Path) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=Publisher(lake).run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def wait_for(is_true: Callable[[], bool], seconds: float) -> float:
    began = time.monotonic()
    while not is_true():
        assert time.monotonic() - began < seconds, "never happened"
        time.sleep(0.01)
    return time.monotonic() - began


def test_the_publisher_waits_for_a_lake_and_follows_it(lake: Path, caplog: pytest.LogCaptureFixture) -> None:
    with publishing(lake):
        wait_for(lambda: "the lake was not published" in caplog.text, 20)
        river = River(lake)
        wait_for((lake / "lake.sql").exists, 20)
        river.append()
        # A second is promised; a busy test machine gets more.
        wait_for(lambda: readers.from_database(lake) == expected(river.now), 5)
    assert caplog.text.count("the lake was not published") == 1
