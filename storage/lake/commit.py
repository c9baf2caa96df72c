"""Rows and position in one Delta commit, refused when the stored position is not the one held.

What delta-rs does, and why this is a fence: docs/decisions/0002-exactly-once.md. The rule behind
`held`: whatever is written must have been derived at the position it is compared with.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError, DeltaProtocolError, SchemaMismatchError, TableNotFoundError

from storage.errors import LakeBroken, LakeUnreadable
from storage.lake.place import Place
from storage.lake.tables import LOG_COLUMN, TABLES, TableName, table_uri, transactions, writer_properties

COMMIT_RETRIES = 15


@dataclass(frozen=True, slots=True)
class Span:
    """The offsets of one partition that a commit covers."""

    held: int | None  # the stored position as loaded or last written; None: this chain never wrote
    next: int  # the position after the commit


@dataclass(frozen=True, slots=True)
class Unclear:
    """A commit that was refused, failed, or whose outcome is unknown: settle before deciding."""

    reason: str
    is_moved: bool = False
    error: Exception | None = field(default=None, compare=False)


class FencedTable:
    """One Delta table as one worker writes it; used by one thread at a time.

    The handle moves in two places only: `reload`, and a successful write.
    """

    def __init__(self, lake: Place | str, name: TableName, chain: str) -> None:
        self.name = name
        self.chain = chain
        self.uri = table_uri(lake, name)
        self.reload()

    def reload(self) -> None:
        """A fresh handle at the newest version."""
        try:
            self.table = DeltaTable(self.uri)
        except (TableNotFoundError, DeltaProtocolError) as error:
            raise LakeBroken(f"cannot open the {self.name} table: {error}") from error
        except (DeltaError, OSError) as error:
            raise LakeUnreadable(f"cannot read the {self.name} table: {error}") from error

    def app(self, partition: int) -> str:
        """The application id of one partition's position."""
        return f"{self.chain}/{partition}"

    def position(self, partition: int) -> int | None:
        """The next offset to read as this handle knows it."""
        version: int | None = self.table.transaction_version(self.app(partition))
        return version

    def total(self, partition: int, kind: str) -> int:
        """A running total beside the position, such as `lines` or `rows`."""
        return self.table.transaction_version(f"{self.app(partition)}#{kind}") or 0

    def append(self, rows: pa.Table, spans: Mapping[int, Span], totals: Mapping[str, int], note: str) -> Unclear | None:
        """Commit rows, positions and totals together. None: all of it is in.

        Raises LakeBroken when a person is needed; everything else comes back as Unclear.
        """
        versions = {self.app(partition): span.next for partition, span in spans.items()} | dict(totals)
        table = self.table  # read once: a reload in between would pass both fences
        try:
            for partition, span in spans.items():
                if (found := table.transaction_version(self.app(partition))) != span.held:
                    return Unclear(f"partition {partition} stands at {found}, held {span.held}", is_moved=True)
            write_deltalake(
                table,
                self._stamped(rows),
                mode="append",
                schema_mode="merge",
                writer_properties=writer_properties(self.name),
                commit_properties=CommitProperties(
                    app_transactions=transactions(versions),
                    max_commit_retries=COMMIT_RETRIES,
                    custom_metadata={"streamgauge": note},
                ),
            )
        except (SchemaMismatchError, TableNotFoundError, DeltaProtocolError) as error:
            raise LakeBroken(f"cannot write the {self.name} table: {error}") from error
        except (DeltaError, OSError) as error:
            return Unclear(f"{type(error).__name__}: {error}", error=error)
        return None

    def _stamped(self, rows: pa.Table) -> pa.Table:
        """The rows with the log they come from, where the table tells logs apart."""
        if LOG_COLUMN not in TABLES[self.name].schema.names or LOG_COLUMN in rows.column_names:
            return rows
        return rows.append_column(TABLES[self.name].schema.field(LOG_COLUMN), pa.repeat(self.chain, rows.num_rows))

    def settle(self, partitions: Iterable[int]) -> dict[int, int | None]:
        """Look at the newest version: where does each partition stand now?"""
        self.reload()
        return {partition: self.position(partition) for partition in partitions}
