"""When a batch is ready, and that it holds what was added."""

import pytest

from processors.batch import Batch, FlushPolicy
from processors.duplicates import DuplicateWindow
from processors.partition import Accepted, PartitionState
from tests.processors.records import POLICY, door_record, event_line

NEVER = FlushPolicy(rows=10**9, bytes=10**9, age_seconds=10**9, dates=10**9)


def _accepted(*records: list[bytes], partition: int = 0) -> list[Accepted]:
    state = PartitionState(partition, 1, 0, DuplicateWindow(60, 1000))
    return [state.accept([door_record(n, lines, partition)], POLICY) for n, lines in enumerate(records)]


def test_empty_batch_is_never_ready() -> None:
    batch = Batch()
    assert not batch.is_ready(FlushPolicy(1, 1, 0.001, 1), 10**12)


@pytest.mark.parametrize(
    ("policy", "below", "at"),
    [
        (FlushPolicy(3, 10**9, 10**9, 10**9), 1, 2),
        (FlushPolicy(10**9, 300, 10**9, 10**9), 2, 3),
        (FlushPolicy(10**9, 10**9, 10**9, 2), 1, 2),
    ],
)
def test_batch_is_ready_at_its_limit_not_before(policy: FlushPolicy, below: int, at: int) -> None:
    batch = Batch()
    for number, accepted in enumerate(
        _accepted(*[[event_line(timestamp=f"2024-03-0{n + 1}")] * 2 for n in range(4)]), start=1
    ):
        batch.add(accepted, 100, 1.0)
        if number == below:
            assert not batch.is_ready(policy, 1.0)
        if number == at:
            assert batch.is_ready(policy, 1.0)


def test_batch_is_ready_by_the_age_of_its_first_record() -> None:
    batch = Batch()
    first, second = _accepted([event_line()], [event_line()])
    batch.add(first, 10, 100.0)
    batch.add(second, 10, 104.0)
    policy = FlushPolicy(10**9, 10**9, 5.0, 10**9)
    assert not batch.is_ready(policy, 104.9)
    assert batch.is_ready(policy, 105.0)


def test_batch_of_rejects_only_must_be_flushed_too() -> None:
    batch = Batch()
    assert batch.add(_accepted([b"{"])[0], 1, 1.0) is None
    assert [letter.reason for letter in batch.rejects] == ["malformed"]
    assert batch.is_ready(FlushPolicy(10, 10**9, 1.0, 10**9), 2.0)
    assert batch.partitions == {0}


def test_batch_returns_the_columns_it_adds() -> None:
    batch = Batch()
    [first], [second] = _accepted([event_line(), event_line()]), _accepted([event_line()], partition=1)
    chunk = batch.add(first, 10, 1.0)
    batch.add(second, 10, 1.0)
    assert chunk is not None
    assert chunk["record_index"].to_pylist() == [0, 1]
    assert [partition for chunk in batch.chunks for partition in chunk["kafka_partition"].to_pylist()] == [0, 0, 1]
    assert (batch.rows, batch.partitions, not batch.is_ready(NEVER, 10.0)) == (3, {0, 1}, True)
