"""Records as events again."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from api.log.reading import LogRecord, header_format, logged_events
from schemas.records import SegmentHeader, encode_segment, minted_id, record_headers

RECEIVED = 1_771_800_000_142


def _record(value: bytes, made: str | None = "1") -> LogRecord:
    return LogRecord(2, 40, 1_771_800_001_000, value, made)


def _segment(lines: list[bytes], project: int = 1, ids: list[str | None] | None = None) -> bytes:
    return encode_segment(SegmentHeader(len(lines), project, RECEIVED, "abcdefghijkl", "api", ids), lines)


def test_ids_are_those_the_door_answered() -> None:
    value = _segment([b'{"event":"a","eventId":"mine"}', b'{"event":"b"}', b'{"event":"c"}'], ids=[None, "key:1", None])
    assert [logged.event_id for logged in logged_events(_record(value))] == [
        "mine",
        "key:1",
        minted_id("abcdefghijkl", 2),
    ]


def test_index_counts_through_the_record_and_over_bad_lines() -> None:
    value = _segment([b'{"event":"a"}', b"{"]) + _segment([b'{"event":"c"}'], project=7)
    found = [(logged.index, logged.project, logged.event.event) for logged in logged_events(_record(value))]
    assert found == [(0, 1, "a"), (2, 7, "c")]


def test_foreign_lines() -> None:
    value = b'{"event":"a","projectId":3,"eventId":"x"}\n\nnonsense\n{"event":"b","projectId":4}'
    found = list(logged_events(_record(value, None)))
    assert [(logged.index, logged.project, logged.event_id) for logged in found] == [(0, 3, "x"), (3, 4, None)]
    assert found[0].source == "kafka"
    assert found[0].received == 1_771_800_001_000


def test_detail_of_an_event_in_the_log() -> None:
    line = (
        b'{"event":"a","userId":"u1","timestamp":"2026-02-22T10:30:00Z","properties":{"k":1},"sessionId":"s1",'
        b'"context":{"path":"/p"}}'
    )
    [logged] = logged_events(_record(_segment([line])))
    assert msgspec.json.decode(msgspec.json.encode(logged.detail())) == {
        "eventId": "evt_abcdefghijkl",
        "state": "in_log",
        "partition": 2,
        "offset": 40,
        "index": 0,
        "lakeVersion": None,
        "event": "a",
        "properties": {"k": 1},
        "userId": "u1",
        "timestamp": "2026-02-22T10:30:00Z",
        "source": "api",
        "sessionId": "s1",
        "context": {"url": None, "path": "/p", "title": None, "referrer": None, "userAgent": None},
        "receivedAt": "2026-02-22T22:40:00.142Z",
    }


def test_detail_of_a_foreign_event_whose_time_is_none() -> None:
    value = b'{"event":"a","projectId":1,"eventId":"x","timestamp":"soon"}'
    [logged] = logged_events(_record(value, None))
    assert logged.detail().timestamp is None


def test_format_is_what_the_headers_say() -> None:
    headers: list[tuple[str, str | bytes | None]] = [*record_headers(1, "door")]
    assert header_format(headers) == "1"
    assert header_format([]) is None
    assert header_format([("sg-format", b"\xff")]) == "\ufffd"


@given(st.binary(max_size=300), st.sampled_from(["1", "2", None]))
def test_whatever_the_log_holds_is_passed_over(value: bytes, made: str | None) -> None:
    assert list(logged_events(_record(value, made))) == []
