"""Records for tests, as the door and as foreign producers write them, and what becomes of them by the book."""

import json
from collections.abc import Sequence, Set

from processors.decode import Decoded, DecodePolicy, LogRecord, complete, decode_record
from processors.poison import decode_around
from schemas.deadletters import DeadLetter
from schemas.instants import to_millis
from schemas.kinds import kind_of
from schemas.records import SegmentHeader, encode_segment, record_headers
from schemas.rows import Row, WebFields
from storage.lake.columns import Chunk, events_table

CHAIN = "cluster/topic"
PROJECT = 7
RECEIVED = 1_764_000_000_000
POLICY = DecodePolicy(CHAIN, frozenset({PROJECT, 8}))


def event_line(name: str = "click", **fields: object) -> bytes:
    """One event of the core form."""
    return json.dumps({"event": name} | fields).encode()


def door_value(lines: Sequence[bytes], base: str = "000000000000", received: int = RECEIVED, **header: object) -> bytes:
    """One segment of the door; `header` overrides its fields."""
    fields = {"n": len(lines), "project": PROJECT, "received": received, "base": base, "source": "api"} | header
    return encode_segment(SegmentHeader(**fields), lines)  # type: ignore[arg-type]  # a test's own fields


def door_headers(count: int) -> dict[str, bytes]:
    """The Kafka headers of a record with `count` lines."""
    return dict(record_headers(count, "door-0"))


def door_record(offset: int, lines: Sequence[bytes], partition: int = 0, **header: object) -> LogRecord:
    """A record of one segment whose minted ids depend on its place."""
    value = door_value(lines, f"{partition:03d}{offset:06d}000", **header)  # type: ignore[arg-type]
    return LogRecord(partition, offset, RECEIVED + offset, value, door_headers(len(lines)))


def foreign_record(value: bytes | None, offset: int = 0, partition: int = 0) -> LogRecord:
    """A record without headers of ours."""
    return LogRecord(partition, offset, RECEIVED + offset, value)


def items_of(record: LogRecord, poison: Set[int] | None = None) -> list[Row | DeadLetter]:
    """Every line of a record in order, as the row it is in the columns or as its dead letter."""
    found = Decoded()
    if poison is None:
        decode_record(record, POLICY, found)
    else:
        decode_around(record, POLICY, poison, found)
    untimely = complete(found)
    found.events.dropped = sorted(untimely)
    rows = rows_of(events_table(found.events, kind_of)) if len(found.events) else []
    items: list[Row | DeadLetter] = [*rows, *found.rejects, *untimely.values()]
    return sorted(items, key=lambda item: item.record_index if isinstance(item, Row) else item.index)


def rows_of(chunk: Chunk) -> list[Row]:
    """The rows of a chunk."""
    rows = []
    for values in chunk.to_pylist():
        del values["date"]
        values["web"] = WebFields(**{name: values.pop(name) for name in WebFields.__struct_fields__})
        values["properties"] = values["properties"].encode()
        values["context"] = values["context"] and values["context"].encode()
        values |= {name: to_millis(values[name]) for name in ("timestamp", "received_at")}
        rows.append(Row(**values))
    return rows
