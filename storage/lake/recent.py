"""What a partition's new owner reads back from the lake: dead-letter keys, recent ids, recent rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from deltalake import DeltaTable

from schemas.instants import from_millis
from storage.lake import columns, snapshot
from storage.lake.columns import Chunk, LiveGroup
from storage.lake.commit import FencedTable

_PIECE_ROWS: Final = 8192


def dead_letter_keys(dead_letters: FencedTable, partition: int, start: int) -> frozenset[tuple[int, int]]:
    """(offset, index) of the dead letters that this chain has of a partition at and above `start`."""
    pinned = snapshot.snapshot_of(
        dead_letters.table, "dead_letters", f"kafka_partition = {partition} AND kafka_offset >= {start}"
    )
    table = snapshot.read(
        pinned,
        "kafka_offset, record_index",
        "kafka_log = ? AND kafka_partition = ? AND kafka_offset >= ?",
        [dead_letters.chain, partition, start],
    )
    return frozenset(zip(table["kafka_offset"].to_pylist(), table["record_index"].to_pylist(), strict=True))


def recent_ids(events: FencedTable, partition: int, seconds: int, rows: int) -> Iterator[tuple[int, str, int]]:
    """(project, event id, received unix ms) of a partition's last rows, in the order of the log.

    Those received within `seconds` of its latest, and at most `rows` of them: millions, so they stay columns until
    they are asked for.
    """
    pinned = snapshot.snapshot_of(events.table, "events", f"kafka_partition = {partition}")
    latest = snapshot.read(pinned, "max(epoch_ms(received_at)) AS latest", "kafka_partition = ?", [partition])
    newest = latest["latest"][0].as_py()
    if newest is None:
        return
    table = snapshot.read(
        pinned,
        "project_id, event_id, epoch_ms(received_at) AS received",
        "kafka_partition = ? AND epoch_ms(received_at) > ? ORDER BY kafka_offset DESC, record_index DESC LIMIT ?",
        [partition, newest - seconds * 1000, rows],
    )
    for end in range(len(table), 0, -_PIECE_ROWS):
        start = max(0, end - _PIECE_ROWS)
        piece = table.slice(start, end - start)
        yield from zip(*(column.to_pylist()[::-1] for column in piece.columns), strict=True)


@dataclass(frozen=True, slots=True)
class LivePast:
    """What the lake knows of a partition below a position, for its live state."""

    groups: list[LiveGroup]
    totals: list[tuple[int, int, int]]


def live_past(uri: str, chain: str, partition: int, below: int, slot_seconds: int, first: int) -> LivePast:
    """Slots from unix second `first` on, and totals of all time, of a partition's rows but those at `below` and above.

    Rows of older logs count whole: what they counted stays counted when a topic is made anew.

    Opens a handle of its own, so that it may run beside the thread that writes.
    """
    table = DeltaTable(uri)
    pinned = snapshot.snapshot_of(table, "events", f"kafka_partition = {partition} AND date >= '{_day(first)}'")
    chunk: Chunk = snapshot.read(
        pinned,
        "*",
        "kafka_partition = ? AND (kafka_log <> ? OR kafka_offset < ?) AND epoch_ms(timestamp) >= ?",
        [partition, chain, below, first * 1000],
    )
    totals = snapshot.read(
        snapshot.snapshot_of(table, "events", f"kafka_partition = {partition}"),
        "project_id, count(*) AS events, count(*) FILTER (is_pageview) AS pageviews",
        "kafka_partition = ? AND (kafka_log <> ? OR kafka_offset < ?) AND NOT is_bot AND NOT is_system"
        " GROUP BY project_id",
        [partition, chain, below],
    )
    return LivePast(
        columns.live_groups(chunk, slot_seconds, first, 2**40),
        list(zip(*(column.to_pylist() for column in totals.columns), strict=True)),
    )


def _day(seconds: int) -> str:
    return from_millis(seconds * 1000).date().isoformat()
