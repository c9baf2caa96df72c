"""Live messages: encoded and back, one key for what overwrites, and the partition of a person."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.live import (
    LiveMessage,
    PartitionStatus,
    ProjectTotals,
    Refusal,
    SlotState,
    decode_live,
    encode_live,
    live_key,
)
from schemas.topics import partition_of

SLOT = SlotState("c/t", 1, 9, 7, 1_700_000_000, {"a": 1}, 1, b"\x00\xff", {"/": 1}, {}, {"DE": 1})
TOTALS = ProjectTotals("c/t", 1, 9, 7, 10, 4)
STATUS = PartitionStatus("c/t", 1, 9, 8, 10, "live", 5, 4, 3, "worker-0")
REFUSAL = Refusal("c/t", 1, 9, 0, 1_700_000_000_000, "malformed", "Malformed JSON", None)


@pytest.mark.parametrize("message", [SLOT, TOTALS, STATUS, REFUSAL])
def test_live_message_survives_the_log(message: LiveMessage) -> None:
    assert decode_live(encode_live(message)) == message


def test_live_key_is_the_same_for_the_next_state_and_differs_otherwise() -> None:
    later = msgspec.structs.replace(SLOT, next=10, pageviews=2)
    assert live_key(later) == live_key(SLOT)
    others: list[LiveMessage] = [
        msgspec.structs.replace(SLOT, slot=SLOT.slot + 10),
        msgspec.structs.replace(SLOT, project=8),
        TOTALS,
        STATUS,
        REFUSAL,
    ]
    assert len({live_key(message) for message in [SLOT, *others]}) == 6


def test_live_topic_keeps_a_bounded_number_of_refusals() -> None:
    keys = {live_key(msgspec.structs.replace(REFUSAL, offset=offset)) for offset in range(10_000)}
    assert len(keys) == 64


@pytest.mark.parametrize("value", [b"", b"\xc1", b"\x90", b"\x93\xa4slot\x01\x02", b'{"a":1}'])
def test_decode_live_refuses_other_values(value: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_live(value)


@given(st.integers(1, 2**40), st.text(min_size=1), st.text(), st.text(), st.integers(1, 64))
def test_partition_of_a_person_does_not_depend_on_the_event(
    project: int, person: str, first: str, second: str, partitions: int
) -> None:
    found = partition_of(project, person, first, partitions)
    assert found == partition_of(project, person, second, partitions)
    assert 0 <= found < partitions


def test_partition_of_nobody_spreads_by_event_id() -> None:
    counts = Counter(partition_of(1, "", f"evt_{number}", 4) for number in range(4000))
    assert set(counts) == {0, 1, 2, 3}
    assert min(counts.values()) > 800
