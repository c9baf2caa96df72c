"""Records that the log dropped before they were read: noted as a gap, alarmed, and everything after them is read."""

import json
import signal

import pytest
from confluent_kafka import TopicPartition
from deltalake import DeltaTable

from storage.lake.audit import audit
from tests.faults.checker import read
from tests.faults.river import River

Span = tuple[int, int]


def _drop(river: River, until: dict[int, int]) -> None:
    """What retention does, at a moment of our choice; the broker says where each partition begins now."""
    places = [TopicPartition(river.topic, partition, offset) for partition, offset in until.items()]
    for place, done in river.admin.delete_records(places).items():
        assert done.result(30).low_watermark == until[place.partition]


def _gaps(river: River) -> dict[int, list[Span]]:
    """The gaps that the lake tells of, by partition."""
    letters = read(DeltaTable(str(river.lake / "dead_letters"))).sort("kafka_offset")
    found: dict[int, list[Span]] = {}
    for letter in letters.to_dicts():
        assert (letter["reason"], letter["record_index"]) == ("gap", -1)
        span = json.loads(letter["raw"])
        assert letter["kafka_offset"] == span["from"]
        found.setdefault(letter["kafka_partition"], []).append((span["from"], span["to"]))
    return found


def _judge(river: River, gaps: dict[int, list[Span]]) -> None:
    """Every offset of the drained log is rows or inside a gap, never both, and the books agree."""
    rows = read(DeltaTable(str(river.lake / "events")))
    for partition, end in river.ends().items():
        lost = [offset for start, stop in gaps.get(partition, []) for offset in range(start, stop)]
        kept = set(rows.filter(rows["kafka_partition"] == partition)["kafka_offset"])
        assert sorted([*lost, *kept]) == list(range(end))
        total = DeltaTable(str(river.lake / "events")).transaction_version(f"{river.chain()}/{partition}#gaps") or 0
        assert total == len(lost)
    assert audit(river.lake).failures == []


@pytest.mark.timeout(300)
def test_what_was_dropped_under_a_stopped_worker_is_a_gap(river: River) -> None:
    river.send(6, bad_every=0)
    river.start()
    river.drain()
    assert river.stop("worker-0") == 0
    before = river.positions()
    river.send(12, bad_every=0)
    ends = river.ends()
    _drop(river, {0: before[0] + 4, 1: ends[1]})  # some of one partition, all of the other

    worker = river.start("worker-1")
    river.drain()
    expected = {0: [(before[0], before[0] + 4)], 1: [(before[1], ends[1])]}
    assert _gaps(river) == expected
    assert len(river.said("the log lost records before they were read", "worker-1")) == 2

    river.send(4, bad_every=0)
    river.drain()
    _judge(river, expected)
    assert worker.poll() is None
    assert river.stop("worker-1") == 0


@pytest.mark.timeout(300)
def test_what_was_dropped_under_a_frozen_worker_is_a_gap(river: River) -> None:
    river.send(2, bad_every=0)
    worker = river.start()
    river.drain()
    worker.send_signal(signal.SIGSTOP)
    # A fetch that was under way may still bring the first of these; those after it are gone when it asks.
    river.send(2, bad_every=0)
    river.send(40, bad_every=0)
    ends = river.ends()
    _drop(river, {0: ends[0] - 3, 1: ends[1] - 3})
    worker.send_signal(signal.SIGCONT)

    river.drain()
    gaps = _gaps(river)
    assert {partition: spans[-1][1] for partition, spans in gaps.items()} == {0: ends[0] - 3, 1: ends[1] - 3}
    river.send(2, bad_every=0)
    river.drain()
    _judge(river, gaps)
    assert worker.poll() is None
    assert river.stop("worker-0") == 0
