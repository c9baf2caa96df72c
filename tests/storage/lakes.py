"""A small lake and a writer for it: rows that can be told apart, positions and totals as the workers keep them."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from schemas.deadletters import DeadLetter
from schemas.rows import Row, WebFields
from storage.lake.columns import rows_table
from storage.lake.commit import FencedTable, Span, Unclear
from storage.lake.deadletters import dead_letters_table
from storage.lake.place import Place
from storage.lake.rollups import catch_up
from storage.lake.tables import EVENTS, TableName, create_tables, table_uri

CHAIN = "cluster/topic"
DAY = date(2026, 3, 1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event_row(
    partition: int,
    offset: int,
    *,
    at: datetime = NOON,
    event_id: str | None = None,
    project: int = 1,
    bot: bool = False,
) -> Row:
    """One row whose key is (partition, offset, 0)."""
    return Row(
        project_id=project,
        event_id=event_id or f"{partition}-{offset}",
        event=("page_view", "signup")[offset % 2],
        distinct_id=f"person-{offset % 7}",
        identified_by=None,
        anonymous_id=None,
        session_id=None,
        timestamp=int(at.timestamp() * 1000) + offset % 1000,
        received_at=int(at.timestamp() * 1000) + 5,
        source="web",
        is_pageview=offset % 2 == 0,
        is_system=False,
        properties=b'{"n":%d}' % offset,
        context=None,
        web=WebFields(path=f"/{offset % 3}", is_bot=bot),
        kafka_partition=partition,
        kafka_offset=offset,
        record_index=0,
    )


def make_lake(root: Path) -> Path:
    """Empty tables under `root/lake`."""
    lake = root / "lake"
    lake.mkdir(parents=True, exist_ok=True)
    create_tables(lake)
    return lake


class Writer:
    """One worker's three tables for one partition, written in the order of a flush."""

    def __init__(self, lake: Place, partition: int = 0, chain: str = CHAIN) -> None:
        self.partition = partition
        self.chain = chain
        self.events = FencedTable(lake, "events", chain)
        self.rollups = FencedTable(lake, "rollups", chain)
        self.dead_letters = FencedTable(lake, "dead_letters", chain)
        self.next = self.events.position(partition) or 0

    def rows(self, count: int, at: datetime = NOON) -> list[Row]:
        """The next `count` rows of the partition."""
        return [event_row(self.partition, self.next + n, at=at) for n in range(count)]

    def append(
        self, rows: Sequence[Row], rejects: Sequence[DeadLetter] = (), duplicates: int = 0, rolled_up: bool = True
    ) -> None:
        """Dead letters, events, rollups; repeats what was refused without having landed."""
        held = self.events.position(self.partition)
        end = max([row.kafka_offset for row in rows] + [letter.offset for letter in rejects], default=self.next - 1) + 1
        if rejects:
            stood = self.dead_letters.position(self.partition)
            span = {self.partition: Span(stood, end)}
            _insist(lambda: self.dead_letters.append(dead_letters_table(rejects), span, {}, "test"), self.dead_letters)
        _insist(lambda: self._commit(rows, rejects, duplicates, Span(held, end)), self.events)
        self.next = end
        if rolled_up:
            covered = {self.partition: Span(held, end)}
            _insist(lambda: catch_up(self.rollups, self.events, covered, _chunk(rows)), self.rollups)

    def _commit(
        self, rows: Sequence[Row], rejects: Sequence[DeadLetter], duplicates: int, span: Span
    ) -> Unclear | None:
        app = self.events.app(self.partition)
        rejected = sum(letter.index >= 0 for letter in rejects)
        added = {
            "lines": len(rows) + rejected + duplicates,
            "rows": len(rows),
            "rejects": rejected,
            "duplicates": duplicates,
        }
        totals = {f"{app}#{kind}": self.events.total(self.partition, kind) + count for kind, count in added.items()}
        return self.events.append(_chunk(rows), {self.partition: span}, totals, "test")


def _chunk(rows: Sequence[Row]) -> pa.Table:
    return rows_table(rows) if rows else EVENTS.empty_table()


def _insist(commit: Callable[[], Unclear | None], table: FencedTable) -> None:
    for _ in range(50):
        if (outcome := commit()) is None:
            return
        assert not outcome.is_moved, outcome
        table.reload()
    raise AssertionError(outcome)


def keys(lake: Path, name: TableName = "events", version: int | None = None) -> Counter[tuple[int, int, int]]:
    """How often each (partition, offset, index) is in a table."""
    files = DeltaTable(table_uri(lake, name), version=version).file_uris()
    if not files:
        return Counter()
    with duckdb.connect(":memory:") as connection:
        return Counter(
            connection.execute(
                "SELECT kafka_partition, kafka_offset, record_index FROM read_parquet(?, union_by_name=true)", [files]
            ).fetchall()
        )


def offsets(first: int, end: int, partition: int = 0) -> Counter[tuple[int, int, int]]:
    """The keys of a contiguous range, each once."""
    return Counter((partition, offset, 0) for offset in range(first, end))


def days(count: int, first: date = DAY) -> Iterable[datetime]:
    """Noon of consecutive days."""
    return (datetime(first.year, first.month, first.day, 12, tzinfo=UTC) + timedelta(days=n) for n in range(count))


def arrow(lake: Path, name: TableName) -> pa.Table:
    """All rows of a table, by another reader than ours."""
    table: pa.Table = DeltaTable(table_uri(lake, name)).to_pyarrow_table()
    return table
