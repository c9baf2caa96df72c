"""What a lake must do, on a local disk and in an S3-compatible store alike; Polars judges what is there."""

import io
import json
import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from schemas.deadletters import DeadLetter
from schemas.listing import EventsQuestion
from schemas.series import Metric
from storage.errors import LakeBroken, LakeUnreadable, NotFound, Refused, StorageError, Unavailable
from storage.lake import tables
from storage.lake.audit import audit
from storage.lake.columns import rows_table
from storage.lake.commit import FencedTable, Span
from storage.lake.deltalog import transactions_of
from storage.lake.pins import make_pin, read_pins, remove_pin
from storage.lake.place import Place, let_read, names_in, sizes
from storage.lake.publication import DATABASE, SCRIPT, publish
from storage.lake.rollups import catch_up
from storage.lake.selftest import check_fence
from storage.lake.snapshot import TableReader, read
from storage.lake.tables import EVENTS, TABLES, TableName, create_tables, has_tables, table_uri
from storage.maintenance.files import live_files
from storage.maintenance.maintainer import Maintainer
from storage.maintenance.manual import open_table, restore, table_files
from storage.maintenance.merging import Resources
from storage.maintenance.policy import MergePolicy, RetentionPolicy
from storage.maintenance.swap import SwapRefused, merge
from storage.maintenance.vacuum import vacuum
from storage.query.analyst import ask
from storage.query.events import list_events
from tests.storage.lakes import CHAIN, NOON, Writer, days, event_row, offsets
from tests.storage.query.asking import asking, series_question, span_of

NOW = datetime(2026, 3, 5, tzinfo=UTC)


@pytest.fixture(params=["disk", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where a lake can be, with nothing in it."""
    if request.param == "disk":
        return tmp_path / "lake"
    found: Place = request.getfixturevalue("s3").place()
    return found


@pytest.fixture
def lake(place: Place) -> Place:
    create_tables(place)
    return place


def _table(lake: Place, name: TableName = "events") -> DeltaTable:
    return DeltaTable(table_uri(lake, name))


def _keys(lake: Place) -> Counter[tuple[int, int, int]]:
    """How often each place in the log is in events, by another engine than ours."""
    files = _table(lake).file_uris()
    columns = ["kafka_partition", "kafka_offset", "record_index"]
    return Counter(pl.read_parquet(files, columns=columns, hive_partitioning=False).rows()) if files else Counter()


def _append(table: FencedTable, start: int | None, end: int) -> str | None:
    chunk = rows_table([event_row(0, n) for n in range(start or 0, end)])
    refused = table.append(chunk, {0: Span(start, end)}, {}, "test")
    return None if refused is None else refused.reason


def _filled(lake: Place, flushes: int = 4, rows: int = 5) -> Writer:
    writer = Writer(lake)
    for _ in range(flushes):
        writer.append(writer.rows(rows))
    return writer


def _failures(lake: Place) -> list[str]:
    return audit(lake, "scan").failures


def test_the_place_refuses_a_second_writer_and_keeps_no_trace_of_the_question(place: Place) -> None:
    check_fence(place)

    assert not has_tables(place)
    create_tables(place)
    assert has_tables(place)
    assert sorted(names_in(place)) == sorted(TABLES)


def test_of_two_stale_handles_one_commits(lake: Place) -> None:
    a, b = FencedTable(lake, "events", CHAIN), FencedTable(lake, "events", CHAIN)

    assert _append(a, None, 10) is None
    assert "Concurrent transaction" in (_append(b, None, 10) or "")
    assert b.settle([0]) == {0: 10}
    assert _append(b, 10, 12) is None
    assert "stands at" in (_append(a, 0, 12) or "")

    assert _keys(lake) == offsets(0, 12)


def test_four_owners_of_one_partition_write_every_row_once(lake: Place) -> None:
    refusals: list[str] = []
    failures: list[BaseException] = []

    def own() -> None:
        try:
            table = FencedTable(lake, "events", CHAIN)
            while (held := table.position(0)) is None or held < 60:
                if refused := _append(table, held, (held or 0) + 3):
                    refusals.append(refused)
                    table.settle([0])
        except BaseException as error:
            failures.append(error)

    owners = [threading.Thread(target=own) for _ in range(4)]
    for owner in owners:
        owner.start()
    for owner in owners:
        owner.join()

    assert failures == []
    assert refusals != []  # they did meet
    assert _keys(lake) == offsets(0, 60)


def test_a_snapshot_is_read_with_its_dates_and_with_columns_that_came_later(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = pa.schema([column for column in EVENTS if column.name != "title"])
    with monkeypatch.context() as patch:
        patch.setitem(tables.TABLES, "events", replace(TABLES["events"], schema=old))
        create_tables(place)
    table = FencedTable(place, "events", CHAIN)
    first, second, third = days(3)
    chunk = rows_table([event_row(0, 0, at=first), event_row(0, 1, at=second)]).drop_columns(["title"])
    assert table.append(chunk, {0: Span(None, 2)}, {}, "old") is None
    create_tables(place)
    reader = TableReader(place, "events")
    before = reader.snapshot()
    table.reload()
    assert table.append(rows_table([event_row(0, 2, at=third)]), {0: Span(2, 3)}, {}, "new") is None

    select = "kafka_offset, date, title"
    found = read(reader.snapshot(), select, "true ORDER BY kafka_offset", []).to_pylist()

    assert [(row["kafka_offset"], row["date"], row["title"]) for row in found] == [
        (n, day.date(), None) for n, day in enumerate((first, second, third))
    ]
    assert len(read(before, "date", "true", [])) == 2  # what was pinned stays as it was
    pruned = reader.snapshot(f"date = '{third.date()}'")
    assert len(pruned.files) == 1
    assert read(pruned, "kafka_offset", "date = ?", [third.date()])["kafka_offset"].to_pylist() == [2]
    assert read(TableReader(place, "sessions").snapshot(), "*", "true", []).num_rows == 0


def test_rollups_catch_up_from_the_rows_that_are_stored(lake: Place) -> None:
    writer = Writer(lake)
    for _ in range(3):
        writer.append(writer.rows(5), rolled_up=False)
    assert any("rollups at None" in failure for failure in _failures(lake))

    assert catch_up(writer.rollups, writer.events, {0: Span(None, writer.next)}, None) is None

    assert _failures(lake) == []


def test_totals_are_found_behind_a_checkpoint(lake: Place) -> None:
    writer = _filled(lake)
    _table(lake).create_checkpoint()
    writer.append(writer.rows(2), [DeadLetter(0, writer.next + 2, 0, "malformed", b"{", 1)])
    version = _table(lake).version()

    found = transactions_of(lake / "events", version)

    assert (found[f"{CHAIN}/0"], found[f"{CHAIN}/0#rows"], found[f"{CHAIN}/0#rejects"]) == (23, 22, 1)
    assert transactions_of(lake / "events", 1)[f"{CHAIN}/0"] == 5
    assert _failures(lake) == []
    with pytest.raises(LakeBroken):
        transactions_of(lake / "events", version + 1)


def test_swaps_beside_an_appender_keep_every_row_once(lake: Place) -> None:
    done = threading.Event()
    failures: list[BaseException] = []

    def append() -> None:
        try:
            writer = Writer(lake)
            for _ in range(15):
                writer.append(writer.rows(4))
        except BaseException as error:
            failures.append(error)
        finally:
            done.set()

    appender = threading.Thread(target=append)
    appender.start()
    swaps = 0
    while not done.is_set() or swaps == 0:
        table = _table(lake)
        if len(files := live_files(table)) > 2:
            merge(table, "events", files, NOW, Resources())
            swaps += 1
    appender.join()

    assert failures == []
    assert _keys(lake) == offsets(0, 60)
    assert _failures(lake) == []


def test_a_second_stale_swap_is_refused_and_leaves_what_is_live(lake: Place) -> None:
    _filled(lake)
    first, second = _table(lake), _table(lake)
    merge(first, "events", live_files(first), NOW, Resources(), is_final=True)

    with pytest.raises(SwapRefused):
        merge(second, "events", live_files(second), NOW, Resources(), is_final=True)

    assert [file.origin for file in live_files(_table(lake))] == ["sorted"]
    assert _keys(lake) == offsets(0, 20)


def test_a_merge_that_fails_removes_what_it_wrote(lake: Place) -> None:
    _filled(lake)
    table = _table(lake)
    files = live_files(table)
    wrong = [replace(files[0], rows=files[0].rows + 1), *files[1:]]
    calls = iter([False])
    before = names_in(lake / "events" / f"date={NOON.date()}")

    with pytest.raises(SwapRefused):
        merge(table, "events", files, NOW, Resources(), is_stopping=lambda: next(calls, True) or True)
    with pytest.raises(LakeBroken, match="its files hold"):
        merge(table, "events", wrong, NOW, Resources())

    left = set(names_in(lake / "events" / f"date={NOON.date()}")) - set(before)
    assert len(left) == 1  # of the merge that was whole and not committed: vacuum's
    assert _keys(lake) == offsets(0, 20)


def test_vacuum_frees_what_no_version_within_the_retention_names(lake: Place) -> None:
    _filled(lake)
    table = _table(lake)
    old = [lake / "events" / file.path for file in live_files(table)]
    merge(table, "events", live_files(table), datetime.now(UTC), Resources())

    assert vacuum(lake / "events", datetime.now(UTC)) == (0, 0)
    assert None not in sizes(old)
    _table(lake).alter.set_table_properties({"delta.deletedFileRetentionDuration": "interval 0 seconds"})
    assert vacuum(lake / "events", datetime.now(UTC)) == (4, 0)

    assert sizes(old) == [None] * 4
    assert _keys(lake) == offsets(0, 20)


def test_a_pin_holds_what_vacuum_would_free(lake: Place) -> None:
    _filled(lake)
    assert read_pins(lake) == []
    pin = make_pin(lake, "report", None, NOW)
    table = _table(lake)
    merge(table, "events", live_files(table), datetime.now(UTC), Resources())
    _table(lake).alter.set_table_properties({"delta.deletedFileRetentionDuration": "interval 0 seconds"})
    kept = frozenset(file.path for file in pin.files[1:])

    assert read_pins(lake) == [pin]
    assert [vacuum(lake / "events", datetime.now(UTC), lambda: kept) for _ in range(2)] == [(1, 0), (0, 0)]
    assert pin.missing(lake) == 1
    remove_pin(lake, "report")
    assert read_pins(lake) == []
    vacuum(lake / "events", datetime.now(UTC))
    assert pin.missing(lake) == 4
    assert _keys(lake) == offsets(0, 20)


def test_sessions_of_dates_that_rest_are_stored_for_analysts(lake: Place, tmp_path: Path) -> None:
    writer = Writer(lake)
    for day in days(2):
        writer.append(writer.rows(7, day))
    now = datetime.now(UTC) + timedelta(days=1)
    maintainer = Maintainer(lake, tmp_path, MergePolicy(), RetentionPolicy(dead_letter_days=100_000), Resources())

    def counted() -> list[list[str]]:
        with ask(lake, "SELECT is_open, count(*), sum(events) FROM sessions GROUP BY ALL") as answer:
            return answer.first(2)

    assert counted() == [["true", "14", "14"]]
    maintainer.merge_due(now)
    maintainer.store_sessions(now)
    assert counted() == [["false", "14", "14"]]


def test_maintenance_merges_expires_and_adds_up(lake: Place, tmp_path: Path) -> None:
    writer = Writer(lake)
    for day in days(3):
        for _ in range(3):
            rows = writer.rows(4, day)
            writer.append(rows, [DeadLetter(0, writer.next + 4, 0, "malformed", b"{", int(day.timestamp() * 1000))])
    keep = RetentionPolicy(days=2, dead_letter_days=1)
    merging = MergePolicy(files_per_date=2)
    maintainer = Maintainer(lake, tmp_path, merging, keep, Resources())
    now = datetime(2026, 3, 4, 1, tzinfo=UTC)

    maintainer.sync_all()
    maintainer.merge_due(now)
    maintainer.expire_due(now)
    maintainer.rebuild_due(now)
    maintainer.vacuum_all(now)

    assert not maintainer.is_halted
    assert {file.date.day for file in table_files(lake, "events")} == {2, 3}
    assert _failures(lake) == []


def test_a_damaged_lake_is_named(lake: Place) -> None:
    _filled(lake)
    [first, second, *_] = live_files(_table(lake))
    (lake / "events" / first.path).unlink()
    (lake / "events" / second.path).write_bytes(b"cut")

    [failure] = audit(lake).failures

    assert first.path in failure
    assert second.path in failure


def test_a_version_is_restored_with_its_positions(lake: Place, tmp_path: Path) -> None:
    writer = _filled(lake, flushes=2)
    version = writer.events.table.version()
    writer.append(writer.rows(7))

    restore(lake, tmp_path, version, NOW)

    assert FencedTable(lake, "events", CHAIN).position(0) == 10
    assert _keys(lake) == offsets(0, 10)
    assert _failures(lake) == []


def test_questions_are_answered_and_a_file_that_is_gone_is_told(lake: Place) -> None:
    _filled(lake)
    span = span_of("2026-03-01", "2026-03-02")
    question = EventsQuestion(1, span, limit=7)
    with asking(lake) as ask_engine:
        page = ask_engine(lambda cursor, lake: list_events(cursor, lake, question, {}))
        series = ask_engine.series(series_question(Metric.EVENTS_COUNT, span))
        people = ask_engine.series(series_question(Metric.UNIQUE_USERS, span, is_exact=True))
        with pytest.raises(StorageError, match="Cannot access"):
            ask_engine(lambda cursor, _: cursor.rows("SELECT * FROM read_parquet(?)", [f"{lake}-other/x.parquet"]))
        for file in live_files(_table(lake)):
            (lake / "events" / file.path).unlink()
        with pytest.raises(Unavailable, match="could not be read"):
            ask_engine(lambda cursor, lake: list_events(cursor, lake, question, {}))

    assert (page.total, len(page.items)) == (20, 7)
    assert sum(value or 0 for value in series.series[0].data) == 20
    assert sum(value or 0 for value in people.series[0].data) == 7
    with pytest.raises(LakeUnreadable, match="cannot read events"):
        read(TableReader(lake, "events").snapshot(), "count(*)", "true", [])


def test_analysts_read_the_lake_and_nothing_else(lake: Place, tmp_path: Path) -> None:
    _filled(lake)
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")

    sink = io.BytesIO()
    select = "SELECT count(*) AS n, min(date)::VARCHAR AS day, (SELECT sum(count) FROM rollups) AS r FROM events"
    with ask(lake, select) as answer:
        answer.write("json", sink)
    assert json.loads(sink.getvalue()) == [{"n": 20, "day": "2026-03-01", "r": 20}]

    with pytest.raises(Refused), ask(lake, f"FROM read_csv('{secret}')"):
        pass
    with pytest.raises(Refused), ask(lake, f"FROM read_csv('{lake}/events/_delta_log/{0:020}.json')"):
        pass


def test_what_is_published_beside_the_data_names_the_tables_where_they_are(lake: Place, tmp_path: Path) -> None:
    _filled(lake)
    folder = tmp_path / "published"
    folder.mkdir()

    publish(folder, tables=lake)

    # Readers need DuckDB's httpfs for a store; here its part is played by what our own readers use.
    with duckdb.connect(folder / DATABASE, read_only=True) as connection:
        let_read(connection, [str(lake)])
        assert connection.sql("SELECT count(*), max(date)::VARCHAR FROM events").fetchall() == [(20, "2026-03-01")]
    with duckdb.connect(":memory:") as connection:
        let_read(connection, [str(lake)])
        connection.execute((folder / SCRIPT).read_text())
        assert connection.sql("SELECT count(*) FROM events").fetchall() == [(20,)]


def test_no_lake_is_told_as_such(place: Place) -> None:
    with pytest.raises(NotFound, match="no lake at"):
        open_table(place, "events")
    with pytest.raises(LakeBroken, match="no lake at"), ask(place, "SELECT 1"):
        pass
    assert not has_tables(place)


def test_dates_of_days_are_utc_wherever_the_lake_is(lake: Place) -> None:
    writer = Writer(lake)
    late = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)
    writer.append([event_row(0, 0, at=late), event_row(0, 1, at=late + timedelta(minutes=2))])

    assert [file.date.day for file in table_files(lake, "events")] == [1, 2]


def test_an_erased_person_is_in_no_file_and_readers_go_on(lake: Place, tmp_path: Path) -> None:
    writer = _filled(lake)
    reader = TableReader(lake, "events")
    reader.snapshot()
    merge(_table(lake), "events", live_files(_table(lake)), NOW, Resources())
    maintainer = Maintainer(lake, tmp_path, MergePolicy(), RetentionPolicy(dead_letter_days=100_000), Resources())

    receipt = maintainer.erase(1, "person-3", NOW)

    events = receipt.tables[0]
    assert (events.rows_before, receipt.files_deleted) == (3, 4), "three flushes that held her, and the merge of all"
    for name in names_in(lake / "events" / "date=2026-03-01"):
        data = (lake / "events" / "date=2026-03-01" / name).read_bytes()
        assert "person-3" not in pl.read_parquet(io.BytesIO(data), hive_partitioning=False)["distinct_id"]
    people = read(reader.snapshot(), "DISTINCT distinct_id AS who", "true", [])["who"].to_pylist()
    assert sorted(people) == [f"person-{n}" for n in range(7) if n != 3]
    writer.events.reload()
    writer.rollups.reload()
    writer.append(writer.rows(1))
    assert audit(lake, "scan").failures == []
