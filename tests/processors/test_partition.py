"""The accept rule: only the next offset of the current generation is taken, and its lines add up."""

import zlib
from dataclasses import replace

import pytest

from processors.duplicates import DuplicateWindow
from processors.partition import Accepted, PartitionState, Verdict
from tests.processors.records import POLICY, RECEIVED, door_record, event_line, foreign_record


def _kept(accepted: Accepted) -> list[int]:
    return [index for place, index in enumerate(accepted.events.indices) if place not in accepted.events.dropped]


def _state(start: int = 5, rejected: frozenset[tuple[int, int]] = frozenset()) -> PartitionState:
    return PartitionState(0, 3, start, DuplicateWindow(60, 100), rejected)


@pytest.mark.parametrize(
    ("generation", "current", "offset", "verdict"),
    [
        (3, 3, 5, Verdict.TAKE),
        (3, 3, 4, Verdict.DROP),
        (3, 3, 6, Verdict.HOLE),
        (2, 3, 5, Verdict.DROP),
        (3, 4, 5, Verdict.DROP),
        (4, 4, 5, Verdict.DROP),
        (-1, 3, 5, Verdict.DROP),
        (2, 3, 6, Verdict.DROP),
    ],
)
def test_verdict(generation: int, current: int, offset: int, verdict: Verdict) -> None:
    assert _state().verdict(generation, current, offset) is verdict


def test_verdict_of_a_closed_partition_is_drop() -> None:
    state = _state()
    state.is_closed = True
    assert state.verdict(3, 3, 5) is Verdict.DROP
    assert state.verdict(3, 3, 6) is Verdict.DROP


def test_accept_counts_every_line_once() -> None:
    state = _state()
    lines = [event_line(eventId="a"), event_line(eventId="a"), b"{", event_line(eventId="b")]
    record = door_record(5, lines)
    accepted = state.accept([record], POLICY)
    assert _kept(accepted) == [0, 3]
    assert [letter.index for letter in accepted.rejects] == [2]
    [count] = accepted.counts
    assert (count.lines, count.rows, count.rejects, count.duplicates) == (4, 2, 1, 1)
    assert (count.partition, count.offset, count.timestamp) == (0, 5, RECEIVED + 5)
    assert count.crc == zlib.crc32(record.value or b"")


def test_accept_counts_an_id_sent_again_in_a_later_record_as_duplicate() -> None:
    state = _state()
    state.accept([door_record(5, [event_line(eventId="a")])], POLICY)
    again = state.accept([door_record(6, [event_line("other", eventId="a"), event_line(eventId="c")])], POLICY)
    assert (again.counts[0].rows, again.counts[0].duplicates) == (1, 1)


def test_accept_is_bound_by_dead_letters_of_an_earlier_decoder() -> None:
    state = _state(rejected=frozenset({(5, 1)}))
    accepted = state.accept([door_record(5, [event_line(eventId="a"), event_line(eventId="b")])], POLICY)
    assert _kept(accepted) == [0]
    assert [(letter.offset, letter.index) for letter in accepted.rejects] == [(5, 1)]
    # What was rejected was never accepted, so its id is free.
    later = state.accept([door_record(6, [event_line(eventId="b")])], POLICY)
    assert later.counts[0].rows == 1


def test_records_of_one_take_follow_each_other_before_any_is_accepted() -> None:
    state = _state()
    assert state.verdict(3, 3, 5) is Verdict.TAKE
    assert [state.verdict(3, 3, offset, ahead=1) for offset in (5, 6, 7)] == [Verdict.DROP, Verdict.TAKE, Verdict.HOLE]
    assert state.next == 5
    state.accept([door_record(5, [event_line()]), door_record(6, [event_line()])], POLICY)
    assert state.next == 7


def test_accept_of_a_record_with_only_blank_lines_counts_none() -> None:
    state = _state()
    accepted = state.accept([foreign_record(b"\n \n", 5)], POLICY)
    assert (accepted.counts[0].lines, state.next) == (0, 6)


def test_records_accepted_together_are_counted_as_each_is_alone() -> None:
    records = [
        door_record(5, [event_line(eventId="a"), b"{", event_line(eventId="b", timestamp="x")]),
        door_record(6, [event_line(eventId="a"), event_line(eventId="c", timestamp="2026-11-24T17:22:07.123Z")]),
        foreign_record(b"{", 7),
        door_record(8, [event_line(), event_line(eventId="c")], received=RECEIVED + 1),
    ]
    alone = _state()
    counts = [alone.accept([record], POLICY).counts[0] for record in records]
    together = _state().accept(records, POLICY)
    assert [replace(count, crc=0) for count in together.counts] == [replace(count, crc=0) for count in counts]
    assert together.counts[-1].crc == counts[-1].crc  # the position that is told lies behind it
    assert [(c.rows, c.rejects, c.duplicates) for c in counts] == [(1, 2, 0), (1, 0, 1), (0, 1, 0), (1, 0, 1)]
    assert sorted((letter.offset, letter.index) for letter in together.rejects) == [(5, 1), (5, 2), (7, 0)]
