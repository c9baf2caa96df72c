"""Sessions of closed dates: stored equals computed equals the oracle, and what changes is made anew."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from math import floor
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from schemas.instants import from_millis, to_millis
from schemas.rows import Row
from schemas.windows import TimeRange
from storage.lake.publication import publish
from storage.lake.tables import table_uri
from storage.maintenance.files import live_files
from storage.maintenance.maintainer import Maintainer
from storage.maintenance.merging import Resources
from storage.maintenance.policy import MergePolicy, RetentionPolicy
from storage.maintenance.sessions import drop_stale, store_next
from storage.maintenance.swap import SwapRefused, commit
from tests import oracle_figures as oracle
from tests.factories import event_row
from tests.storage.lakes import Writer, make_lake
from tests.storage.query.test_overview import some_events

NOW = datetime.now(UTC) + timedelta(days=1)
_DAY = timedelta(days=1)
_COLUMNS = (
    'project_id, session_id, distinct_id, epoch_ms(started_at), epoch_ms(ended_at), "date", duration_seconds, events,'
    " pageviews, entry_path, exit_path, referrer_domain, country, device, is_bounce"
)


def _maintainer(lake: Path) -> Maintainer:
    run = lake.parent / "run"
    run.mkdir(exist_ok=True)
    return Maintainer(lake, run, MergePolicy(), RetentionPolicy(dead_letter_days=100_000), Resources())


def _rest(lake: Path, now: datetime = NOW) -> None:
    """A turn of maintenance."""
    maintainer = _maintainer(lake)
    maintainer.merge_due(now)
    maintainer.store_sessions(now)


def _seen(lake: Path, where: str = "true") -> list[tuple[Any, ...]]:
    """What both files for analysts say."""
    publish(lake)
    query = f"SELECT {_COLUMNS} FROM sessions WHERE {where} ORDER BY ALL"
    with duckdb.connect(str(lake / "lake.duckdb"), read_only=True) as connection:
        connection.execute("SET TimeZone = 'America/New_York'")
        found = connection.execute(query).fetchall()
    with duckdb.connect(":memory:") as connection:
        connection.execute((lake / "lake.sql").read_text())
        assert connection.execute(query).fetchall() == found
    return found


def _versions(lake: Path) -> int:
    return DeltaTable(table_uri(lake, "sessions")).version()


def _stored_dates(lake: Path) -> list[str]:
    return sorted(str(file.date) for file in live_files(DeltaTable(table_uri(lake, "sessions"))))


def _by_oracle(rows: Sequence[Row], project: int) -> Iterable[tuple[Any, ...]]:
    """Sessions of each date by what is known of it and of the dates beside it."""
    for day in {from_millis(row.timestamp).date() for row in rows}:
        start = datetime.combine(day, time(), UTC)
        first, last = to_millis(start - _DAY), to_millis(start + 2 * _DAY)
        near = [row for row in rows if first <= row.timestamp < last]
        for session in oracle.sessions(near, project, TimeRange(start, start + _DAY), lambda _: True):
            yield _expected(project, day, session)


def _expected(project: int, day: date, session: oracle.Session) -> tuple[Any, ...]:
    entry, began = session.entry, session.ordinary[0].timestamp
    paths: list[str | None] = [row.web.path for row in session.views if row.web.path is not None]
    paths = paths or [None]
    person = next((row.distinct_id for row in session.rows if row.distinct_id), "")

    def first(name: str) -> Any:
        values = [getattr(row.web, name) for row in (*session.views, *session.ordinary)]
        return next((value for value in values if value is not None), None)

    return (
        project,
        entry.session_id or f"{person}@{began}",
        person,
        began,
        session.rows[-1].timestamp,
        day,
        floor(session.duration + 0.5),
        len(session.ordinary),
        len(session.views),
        paths[0],
        paths[-1],
        first("referrer_domain"),
        first("country"),
        first("device"),
        session.is_bounce,
    )


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return make_lake(tmp_path)


@pytest.mark.parametrize("seed", [7, 8])
def test_stored_sessions_equal_computed_ones_and_the_oracle(lake: Path, seed: int) -> None:
    rows = list(some_events(random.Random(seed), 300))
    Writer(lake).append(rows)
    expected = Counter(session for project in (1, 2) for session in _by_oracle(rows, project))

    computed = _seen(lake, "is_open")
    _rest(lake)
    stored = _seen(lake, "NOT is_open")

    assert Counter(computed) == Counter(stored) == expected
    assert _seen(lake, "is_open") == []
    assert len(_stored_dates(lake)) == len({from_millis(row.timestamp).date() for row in rows})


def test_a_date_is_stored_once_and_only_when_the_next_one_is_over_too(lake: Path) -> None:
    Writer(lake).append([event_row("2026-03-01T10:00", "ann"), event_row("2026-03-03T10:00", "ann")])

    _rest(lake, datetime(2026, 3, 3, 0, 59, tzinfo=UTC))  # what was written is not quiet by that clock
    assert _stored_dates(lake) == []
    _maintainer(lake).merge_due(NOW)
    _maintainer(lake).store_sessions(datetime(2026, 3, 3, 0, 59, tzinfo=UTC))
    assert _stored_dates(lake) == []
    _maintainer(lake).store_sessions(datetime(2026, 3, 3, 1, tzinfo=UTC))
    assert _stored_dates(lake) == ["2026-03-01"]
    _rest(lake)
    assert _stored_dates(lake) == ["2026-03-01", "2026-03-03"]
    version = _versions(lake)
    _rest(lake)
    assert _versions(lake) == version


def test_late_events_open_their_dates_again_until_these_rest(lake: Path) -> None:
    writer = Writer(lake)
    writer.append([event_row(f"2026-03-0{day}T10:00", "ann") for day in (1, 2, 3, 4, 5)])
    _rest(lake)
    writer.append([event_row("2026-03-02T10:10", "ann")])

    _maintainer(lake).store_sessions(NOW)
    assert _stored_dates(lake) == ["2026-03-04", "2026-03-05"]
    between = _seen(lake)
    _rest(lake)

    assert [row[7] for row in between] == [1, 2, 1, 1, 1]
    assert _seen(lake, "NOT is_open") == between


def test_a_date_without_sessions_is_stored_too(lake: Path) -> None:
    Writer(lake).append([event_row("2026-03-01T10:00", "bot", is_bot=True)])
    _rest(lake)
    version = _versions(lake)
    _rest(lake)
    assert (_stored_dates(lake), _versions(lake), _seen(lake)) == (["2026-03-01"], version, [])


def test_who_was_erased_is_in_no_stored_session(lake: Path) -> None:
    writer = Writer(lake)
    writer.append([event_row("2026-03-01T10:00", person) for person in ("ann", "bob")])
    _rest(lake)

    _maintainer(lake).erase(1, "ann", datetime.now(UTC))

    assert [row[2] for row in _seen(lake, "NOT is_open")] == ["bob"]
    _rest(lake)
    assert [row[2] for row in _seen(lake, "NOT is_open")] == ["bob"]
    for file in (lake / "sessions").rglob("*.parquet"):
        if "_delta_log" not in file.parts:
            assert "ann" not in pq.ParquetFile(file).read()["distinct_id"].to_pylist()


def test_sessions_made_of_what_an_erasure_took_meanwhile_are_refused(
    lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Writer(lake).append([event_row("2026-03-01T10:00", "ann")])
    maintainer = _maintainer(lake)
    maintainer.merge_due(NOW)

    def erased_first(*arguments: Any) -> None:
        maintainer.erase(1, "ann", datetime.now(UTC))
        commit(*arguments)

    monkeypatch.setattr("storage.maintenance.sessions.commit", erased_first)
    with pytest.raises(SwapRefused):
        store_next(lake, NOW, MergePolicy(), Resources())

    assert [path for path in (lake / "sessions").rglob("*.parquet") if "_delta_log" not in path.parts] == []
    assert drop_stale(lake, NOW, MergePolicy()) == []
    assert _seen(lake) == []
