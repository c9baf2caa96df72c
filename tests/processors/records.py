"""Records for tests, as the door and as foreign producers write them, and what becomes of them by the book."""

import json
from collections.abc import Sequence

from processors.decode import DecodePolicy, LogRecord
from schemas.records import SegmentHeader, encode_segment, record_headers

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
