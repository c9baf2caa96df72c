"""decode_record: every line of a record becomes one row or one dead letter, whoever wrote it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.decode import LogRecord
from schemas.deadletters import DeadLetter
from schemas.records import foreign_id, minted_id
from schemas.rows import Row
from storage.lake.deadletters import dead_letters_table
from tests.processors.records import (
    CHAIN,
    PROJECT,
    RECEIVED,
    door_headers,
    door_record,
    door_value,
    event_line,
    foreign_record,
    items_of,
)


def _letters(record: LogRecord) -> list[tuple[int, str]]:
    items = items_of(record)
    return [(item.index, item.reason) for item in items if isinstance(item, DeadLetter)]


def _rows(record: LogRecord) -> list[Row]:
    return [item for item in items_of(record) if isinstance(item, Row)]


def _foreign(**fields: object) -> bytes:
    return json.dumps({"event": "click", "projectId": PROJECT} | fields).encode()


def test_door_record_gives_each_line_its_header_and_place() -> None:
    lines = [event_line(userId="u"), event_line("view", anonymousId="a", source="app"), event_line(eventId="mine")]
    record = door_record(5, lines, partition=3, visitor="v", country="DE")
    rows = _rows(record)
    assert [(row.kafka_partition, row.kafka_offset, row.record_index) for row in rows] == [(3, 5, n) for n in range(3)]
    assert [row.distinct_id for row in rows] == ["u", "a", "v"]
    assert [row.identified_by for row in rows] == ["user", "anonymous", "visitor"]
    assert [row.source for row in rows] == ["api", "app", "api"]
    base = "003000005000"
    assert [row.event_id for row in rows] == [minted_id(base, 0), minted_id(base, 1), "mine"]
    assert {(row.project_id, row.received_at, row.timestamp, row.web.country) for row in rows} == {
        (PROJECT, RECEIVED, RECEIVED, "DE")
    }


def test_door_record_takes_ids_of_its_header_where_a_line_has_none() -> None:
    record = door_record(0, [event_line(), event_line(eventId=""), event_line(eventId="e")], ids=["k:0", None, "k:2"])
    assert [row.event_id for row in _rows(record)] == ["k:0", minted_id("000000000000", 1), "e"]


def test_door_record_ignores_what_a_line_says_of_the_connection() -> None:
    line = event_line(project=9, projectId=9, received=1, visitor="x", country="FR", kafka_offset=4)
    (row,) = _rows(door_record(2, [line]))
    assert (row.project_id, row.received_at, row.distinct_id, row.web.country) == (PROJECT, RECEIVED, "", None)


def test_door_record_with_bad_lines_keeps_the_indexes_of_the_others() -> None:
    value = door_value([event_line(), b"{", b'{"event":""}']) + door_value([b"", event_line()], project=8)
    record = LogRecord(0, 1, RECEIVED, value, door_headers(5))
    items = items_of(record)
    assert [item.record_index if isinstance(item, Row) else item.index for item in items] == [0, 1, 2, 3, 4]
    assert _letters(record) == [(1, "malformed"), (2, "invalid event"), (3, "malformed")]
    assert [(row.record_index, row.project_id) for row in _rows(record)] == [(0, PROJECT), (4, 8)]
    assert [item.raw for item in items if isinstance(item, DeadLetter)] == [b"{", b'{"event":""}', b""]
    assert [item.project for item in items if isinstance(item, DeadLetter)] == [PROJECT, PROJECT, 8]


def test_door_record_cut_in_its_second_segment_is_one_dead_letter_from_there_on() -> None:
    value = door_value([event_line()]) + door_value([event_line(), event_line()])[:-3]
    record = LogRecord(0, 1, RECEIVED, value, door_headers(3))
    assert [row.record_index for row in _rows(record)] == [0]
    assert _letters(record) == [(1, "broken segment")]


@pytest.mark.parametrize("count", [b"", b"x", b"-1", b"4", b"9" * 5000])
def test_door_record_whose_count_is_wrong_is_broken(count: bytes) -> None:
    record = LogRecord(0, 1, RECEIVED, door_value([event_line()]), door_headers(1) | {"sg-count": count})
    assert _letters(record) == [(0, "broken segment")]


@pytest.mark.parametrize("version", [b"2", b"", b"01", b"\xff"])
def test_record_of_an_unknown_format_is_kept_whole(version: bytes) -> None:
    record = LogRecord(0, 1, RECEIVED, b"whatever\n\xff", {"sg-format": version})
    (letter,) = items_of(record)
    assert letter == DeadLetter(0, 1, 0, "unknown format", b"whatever\n\xff", RECEIVED)


@pytest.mark.parametrize("value", [None, b""])
@pytest.mark.parametrize("headers", [{}, door_headers(0)])
def test_record_without_a_value_is_one_dead_letter(value: bytes | None, headers: dict[str, bytes]) -> None:
    (letter,) = items_of(LogRecord(2, 9, RECEIVED, value, headers))
    assert letter == DeadLetter(2, 9, 0, "empty record", b"", RECEIVED)


@pytest.mark.parametrize("header", [{"project": 2**63}, {"project": -(2**70)}, {"received": -1}, {"received": 2**62}])
def test_forged_header_beyond_64_bits_is_dead_letters_that_can_be_stored(header: dict[str, int]) -> None:
    record = door_record(0, [event_line(), event_line()], **header)
    items = items_of(record)
    assert _letters(record) == [(0, "broken segment"), (1, "broken segment")]
    assert len(dead_letters_table([item for item in items if isinstance(item, DeadLetter)])) == 2


def test_two_lines_that_are_one_event_together_are_two_dead_letters() -> None:
    record = door_record(0, [b'{"event":"a"', b'}{"event":"b"}'])
    assert _letters(record) == [(0, "malformed"), (1, "malformed")]


def test_foreign_lines_are_numbered_with_the_empty_ones() -> None:
    value = b"\n".join([_foreign(), b"", b"  ", _foreign(userId="u", eventId="e"), b"{", b""])
    rows = _rows(foreign_record(value, 4, partition=2))
    assert [(row.record_index, row.event_id) for row in rows] == [(0, foreign_id(CHAIN, 2, 4, 0)), (3, "e")]
    assert {(row.source, row.received_at, row.timestamp) for row in rows} == {("kafka", RECEIVED + 4, RECEIVED + 4)}
    assert _letters(foreign_record(value)) == [(4, "malformed")]


def test_foreign_array_and_pretty_printed_event_are_dead_letters() -> None:
    assert _letters(foreign_record(b"[" + _foreign() + b"]")) == [(0, "invalid event")]
    pretty = json.dumps({"event": "a", "projectId": PROJECT}, indent=2).encode()
    assert [index for index, _ in _letters(foreign_record(pretty))] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "line", [b'{"event":"a"}', b'{"event":"a","projectId":99}', b'{"event":"a","projectId":%d}' % 10**40]
)
def test_foreign_line_of_no_known_project_is_a_dead_letter(line: bytes) -> None:
    record = foreign_record(line)
    assert _letters(record) == [(0, "unknown project")]
    assert len(dead_letters_table([item for item in items_of(record) if isinstance(item, DeadLetter)])) == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\xff\xfe", "malformed"),
        (b'{"event":"a","projectId":7,"properties":{"x":1e400}}', "invalid event"),
        (b'{"event":"a","projectId":7,"properties":{"x":NaN}}', "malformed"),
        (b'{"event":"a","projectId":7,"properties":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001, "malformed"),
        (b'{"event":"a","projectId":7,"properties":' + b'{"a":' * 600 + b"1" + b"}" * 601, "invalid event"),
        (b'{"event":"a","projectId":7,"timestamp":"9999-12-31T23:59:60Z"}', "invalid event"),
        (b'{"event":"a","projectId":"7"}', "invalid event"),
        (b'{"event":"a","projectId":7,"userId":"\\u0000"}', "invalid event"),
        (b'{"event":"a","projectId":7,"properties":{"x":"' + b"y" * 1_000_000 + b'"}}', "invalid event"),
    ],
)
def test_poison_is_a_dead_letter_and_its_neighbours_are_rows(line: bytes, reason: str) -> None:
    record = foreign_record(b"\n".join([_foreign(), line, _foreign()]))
    assert [row.record_index for row in _rows(record)] == [0, 2]
    assert _letters(record) == [(1, reason)]


def test_foreign_ids_are_the_same_for_every_reader() -> None:
    record = foreign_record(_foreign() + b"\n" + _foreign(), 3)
    assert items_of(record) == items_of(record)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
_LINE = (
    st.binary(max_size=30)
    | st.fixed_dictionaries(
        {"event": st.text(max_size=5)},
        optional={
            "projectId": st.sampled_from([PROJECT, 8, 9, "7", None]),
            "properties": _JSON,
            "userId": st.text(max_size=5) | st.none(),
            "timestamp": st.sampled_from(["2026-03-01T00:00:00Z", "0001-01-01", "x", "1969-12-31T23:59:59.999Z"]),
            "context": st.none() | st.fixed_dictionaries({}, optional={"url": st.text(max_size=9), "userAgent": _JSON}),
        },
    ).map(lambda fields: json.dumps(fields).encode())
).map(lambda line: line.replace(b"\n", b" "))


@given(st.lists(_LINE, min_size=1, max_size=6))
@settings(deadline=None, max_examples=300)
def test_every_line_is_one_row_or_one_dead_letter_and_can_be_stored(lines: list[bytes]) -> None:
    foreign = items_of(foreign_record(b"\n".join(lines))) if b"\n".join(lines) else []
    expected = [n for n, line in enumerate(lines) if line.strip()] if b"\n".join(lines) else []
    assert [item.record_index if isinstance(item, Row) else item.index for item in foreign] == expected
    door = items_of(door_record(0, lines))
    assert [item.record_index if isinstance(item, Row) else item.index for item in door] == list(range(len(lines)))
    for items in (foreign, door):
        letters = [item for item in items if isinstance(item, DeadLetter)]
        assert len(dead_letters_table(letters)) == len(letters)


@given(st.lists(_LINE, min_size=1, max_size=6), st.data())
@settings(deadline=None)
def test_a_damaged_record_never_ends_the_worker(lines: list[bytes], data: st.DataObject) -> None:
    record = door_record(0, lines)
    damaged = bytearray(record.value or b"")
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    items = items_of(LogRecord(0, 0, RECEIVED, bytes(damaged), record.headers))
    places = [item.record_index if isinstance(item, Row) else item.index for item in items]
    assert places == list(range(len(places)))
