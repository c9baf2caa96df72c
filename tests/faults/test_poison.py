"""Poison straight into Kafka: a dead letter with its place, neighbours untouched, the worker alive."""

import json
from collections import Counter

import polars as pl
from deltalake import DeltaTable

from tests.faults.checker import read
from tests.faults.river import River


def _event(**fields: object) -> bytes:
    return json.dumps({"event": "a"} | fields).encode()


def test_poison_records_are_dead_letters_and_their_neighbours_are_rows(river: River) -> None:
    project = river.project

    def deep(depth: int) -> bytes:
        return b'{"event":"a","projectId":%d,"properties":' % project + b'{"a":' * depth + b"1" + b"}" * (depth + 1)

    poison: dict[bytes | None, str] = {
        None: "empty record",
        b"": "empty record",
        b"{": "malformed",
        b"\xff\xfe\x00": "malformed",
        b'{"event":"a","projectId":%d,"properties":{"x":1e400}}' % project: "invalid event",
        b'{"event":"a","projectId":%d,"properties":{"x":NaN}}' % project: "malformed",
        deep(10_000): "malformed",
        deep(600): "invalid event",
        b'{"event":5,"projectId":%d}' % project: "invalid event",
        b"[1,2]": "invalid event",
        _event(projectId=str(project)): "invalid event",
        _event(projectId=project, userId={}): "invalid event",
        _event(projectId=project, userId="\x00"): "invalid event",
        _event(projectId=project, timestamp="9999-12-31T23:59:60Z"): "invalid event",
        _event(projectId=project, properties={"x": "y" * 1_000_000}): "invalid event",
        _event(projectId=10**30): "unknown project",
        _event(): "unknown project",
    }
    for number, value in enumerate(poison):
        river.produce(0, value, bad=0)
        good = _event(projectId=project, eventId=f"good-{number}", userId="u")
        river.produce(0, good + b"\n\n" + (value or b"{") + b"\n", bad=2)
        river.sent.ids[project, f"good-{number}"] += 1
    # Records that claim to be of the door: another version, a wrong count, a header beyond 64 bits.
    river.produce(1, b"anything", [("sg-format", b"9")], bad=0)
    river.produce(1, b"anything", [("sg-format", b"1"), ("sg-count", b"1")], bad=0)
    header = json.dumps({"n": 1, "project": 10**25, "received": 1, "base": "0" * 12, "source": "x"}).encode()
    river.produce(1, header + b"\n" + _event() + b"\n", [("sg-format", b"1"), ("sg-count", b"1")], bad=0)
    river.send(6)
    worker = river.start()
    river.drain()
    assert worker.poll() is None
    assert river.judge() == []
    letters = read(DeltaTable(str(river.lake / "dead_letters")))
    alone = letters.filter((pl.col("kafka_partition") == 0) & (pl.col("record_index") == 0))
    assert alone.sort("kafka_offset")["reason"].to_list() == list(poison.values())
    assert alone.sort("kafka_offset")["raw"].to_list() == [value or b"" for value in poison]
    forged = letters.filter((pl.col("kafka_partition") == 1) & (pl.col("kafka_offset") < 3)).sort("kafka_offset")
    assert forged["reason"].to_list() == ["unknown format", "broken segment", "broken segment"]
    assert Counter(letters["reason"])["unknown project"] == 4
    assert river.stop("worker-0") == 0
