"""A writer of events whose every version has known numbers: appends, swaps and counted removals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.transaction import AddAction, RemoveAction

from storage.lake.tables import EVENTS, create_tables, writer_properties

DAWN = datetime(2026, 3, 1, 12, tzinfo=UTC)
_FILLERS = {"int64": 0, "int32": 0, "string": "x", "bool": False, "date32[day]": DAWN.date()}


def event_rows(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows of the events table; required columns that a row does not name are filled, the others are null."""
    columns = {}
    for field in EVENTS:
        filler = None if field.nullable else "{}" if field.name == "properties" else _FILLERS.get(str(field.type), DAWN)
        columns[field.name] = pa.array([row.get(field.name, filler) for row in rows], field.type)
    return pa.table(columns, schema=EVENTS)


@dataclass(frozen=True, slots=True)
class Numbers:
    """What any reader must find at a version."""

    version: int
    rows: int
    distinct: int
    next: int
    removed: int


class River:
    """Writes offsets from 0 on without a hole, so that rows + removed rows = last offset + 1, always."""

    def __init__(self, lake: Path, checkpoint_interval: int = 100) -> None:
        create_tables(lake)
        self.lake = lake
        self.table = DeltaTable(str(lake / "events"))
        if checkpoint_interval != 100:
            self.table.alter.set_table_properties({"delta.checkpointInterval": str(checkpoint_interval)})
        self.now = Numbers(self.table.version(), 0, 0, 0, 0)
        self.seen = {self.now.version: self.now}

    def append(self, count: int = 7) -> None:
        """One flush, over two dates."""
        start = self.now.next
        rows = event_rows([_row(offset) for offset in range(start, start + count)])
        properties = CommitProperties(app_transactions=[Transaction("chain/0", start + count)])
        write_deltalake(
            self.table, rows, mode="append", writer_properties=writer_properties("events"), commit_properties=properties
        )
        self._moved(rows=self.now.rows + count, next=start + count)

    def swap(self, drop: int = 0) -> None:
        """Merge one date's files into one, as compaction does; `drop` rows of it are removed, and counted."""
        self.table.update_incremental()
        added = pa.table(self.table.get_add_actions(flatten=True)).to_pylist()
        date = min(action["partition.date"] for action in added)
        old = [action for action in added if action["partition.date"] == date]
        merged = pa.concat_tables(
            pq.ParquetFile(self.lake / "events" / action["path"]).read() for action in old
        ).sort_by("kafka_offset")
        kept = merged.slice(drop)  # the oldest go, so that the last offset stays
        path = f"date={date}/swap-{self.now.version + 1}.parquet"
        pq.write_table(kept, self.lake / "events" / path)
        partition: dict[str, str | None] = {"date": str(date)}
        removed = self.now.removed + drop
        actions: list[AddAction | RemoveAction] = [
            RemoveAction(action["path"], drop > 0, 0, action["size_bytes"], partition) for action in old
        ]
        size = (self.lake / "events" / path).stat().st_size
        actions.append(AddAction(path, size, partition, 0, drop > 0, f'{{"numRecords": {kept.num_rows}}}'))
        fence = Transaction("maintain", (self.table.transaction_version("maintain") or 0) + 1)
        self.table.create_write_transaction(
            actions,
            "append",
            self.table.schema(),
            ["date"],
            commit_properties=CommitProperties(app_transactions=[fence, Transaction("maintain#removed", removed)]),
        )
        self.table.update_incremental()
        self._moved(rows=self.now.rows - drop, removed=removed)

    def step(self, turn: int) -> None:
        """One commit of a plausible life."""
        if turn % 40 == 39:
            self.swap(drop=3)
        elif turn % 15 == 14:
            self.swap()
        else:
            self.append()

    def _moved(self, **changes: int) -> None:
        version = self.table.version()
        assert version == self.now.version + 1, "somebody else writes here"
        moved = replace(self.now, version=version, **changes)
        self.now = replace(moved, distinct=moved.rows)
        self.seen[version] = self.now


def _row(offset: int) -> dict[str, Any]:
    moment = DAWN + timedelta(hours=12 * (offset % 2), seconds=offset)
    return {
        "project_id": 1 + offset % 3,
        "event_id": f"evt_{offset}",
        "distinct_id": f"user-{offset % 5}",
        "timestamp": moment,
        "received_at": moment,
        "date": moment.date(),
        "properties": "{}",
        "kafka_offset": offset,
    }
