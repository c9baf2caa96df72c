"""The core form: what is refused, with which words, and that nothing a client sends ends the process."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import EventLimits, InvalidEvent, check_event, decode_event, decode_events, decode_foreign

LIMITS = EventLimits()
RECEIVED = 1_700_000_000_000


def _checked(raw: bytes, limits: EventLimits = LIMITS) -> int:
    return check_event(decode_event(raw), raw, limits, RECEIVED)


def _event(**fields: object) -> bytes:
    return json.dumps({"event": "click"} | fields).encode()


def _nested(depth: int, core: bytes = b"1") -> bytes:
    return b'{"event":"x","properties":' + b'{"a":' * depth + core + b"}" * depth + b"}"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{]",
        b"'{}'",
        b'{"event":"a"} x',
        b'{"event":"a"}{"event":"b"}',
        b'{"event":"a","properties":{"x":NaN}}',
        b'{"event":"a","properties":{"x":Infinity}}',
        b'{"event":"\xff"}',
        b'{"event":"\xed\xa0\x80"}',
        b'{"event":"\\ud800"}',
        b'{"event":"a\x00b"}',
        b'{"event":"a",}',
        b"\xef\xbb\xbf{}",
        b'{"event":"x","properties":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
    ],
)
def test_decode_event_refuses_what_is_not_json(raw: bytes) -> None:
    with pytest.raises(InvalidEvent, match=r"^Malformed JSON"):
        decode_event(raw)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"null", "Invalid event: expected a JSON object"),
        (b"[]", "Invalid event: expected a JSON object"),
        (b'"click"', "Invalid event: expected a JSON object"),
        (b"1", "Invalid event: expected a JSON object"),
        (b"{}", "Missing required field: event"),
        (b'{"event":null}', "Missing required field: event"),
        (b'{"event":""}', "Missing required field: event"),
        (b'{"event":5}', "Invalid field: event"),
        (b'{"event":"' + b"x" * 257 + b'"}', "Invalid field: event"),
        (b'{"event":"a","properties":[]}', "Invalid field: properties"),
        (b'{"event":"a","properties":{"x":1e400}}', "Invalid field: properties"),
        (b'{"event":"a","properties":{"x":-1e400}}', "Invalid field: properties"),
        (b'{"event":"a","userId":1}', "Invalid field: userId"),
        (b'{"event":"a","anonymousId":true}', "Invalid field: anonymousId"),
        (b'{"event":"a","sessionId":{}}', "Invalid field: sessionId"),
        (b'{"event":"a","timestamp":12}', "Invalid field: timestamp"),
        (b'{"event":"a","eventId":[]}', "Invalid field: eventId"),
        (b'{"event":"a","source":1.5}', "Invalid field: source"),
        (b'{"event":"a","context":"x"}', "Invalid field: context"),
        (b'{"event":"a","context":{"url":1}}', "Invalid field: context"),
    ],
)
def test_decode_event_names_the_field_that_is_wrong(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        decode_event(raw)
    assert refused.value.message == message
    assert refused.value.code == "bad_request"


def test_decode_event_takes_null_as_absent_and_ignores_unknown_fields() -> None:
    event = decode_event(
        b'{"event":"a","properties":null,"userId":null,"timestamp":null,"project":9,"received":1,"visitor":"v"}'
    )
    assert (event.properties, event.user_id, event.timestamp) == (None, None, None)


@pytest.mark.parametrize("project", ["null", '"7"', "1.5", "[]", "true"])
def test_decode_foreign_needs_a_project_that_is_a_number(project: str) -> None:
    with pytest.raises(InvalidEvent, match=r"^Invalid field: projectId$"):
        decode_foreign(b'{"event":"a","projectId":%s}' % project.encode())


def test_decode_foreign_without_a_project_says_so() -> None:
    with pytest.raises(InvalidEvent, match=r"^Missing required field: projectId$"):
        decode_foreign(b'{"event":"a"}')


@pytest.mark.parametrize("text", ["\x00", "a\x00b"])
@pytest.mark.parametrize("field", ["event", "userId", "eventId", "sessionId", "source"])
def test_check_event_refuses_an_escaped_nul_everywhere(field: str, text: str) -> None:
    with pytest.raises(InvalidEvent, match="NUL"):
        _checked(_event(**{field: text}))


@pytest.mark.parametrize("properties", [{"a": "\x00"}, {"\x00": 1}, {"a": [{"b": ["\x00"]}]}])
def test_check_event_refuses_an_escaped_nul_inside_properties(properties: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent, match="NUL"):
        _checked(_event(properties=properties))


def test_check_event_takes_an_escaped_backslash_before_u0000() -> None:
    raw = b'{"event":"a","properties":{"x":"\\\\u0000"}}'
    assert decode_event(raw).properties == {"x": "\\u0000"}
    assert _checked(raw) == RECEIVED


@pytest.mark.parametrize("field", ["userId", "anonymousId", "sessionId", "eventId", "source"])
def test_check_event_bounds_ids(field: str) -> None:
    _checked(_event(**{field: "é" * 512}))
    with pytest.raises(InvalidEvent, match=rf"^Invalid field: {field}$"):
        _checked(_event(**{field: "é" * 513}))


def test_check_event_bounds_depth_keys_strings_and_size() -> None:
    _checked(_nested(31))
    _checked(_event(properties={str(key): key for key in range(1000)}))
    _checked(_event(properties={"a": "x" * 65_536}))
    too_much: list[bytes] = [
        _nested(32),
        _event(properties={"a": [[[[]]]] * 40} | {"b": json.loads("[" * 31 + "]" * 31)}),
        _event(properties={str(key): key for key in range(1001)}),
        _event(properties={"a": ["x" * 65_537]}),
        _event(properties={"x" * 65_537: 1}),
    ]
    for raw in too_much:
        with pytest.raises(InvalidEvent, match=r"^Invalid field: properties$"):
            _checked(raw)


def test_check_event_calls_a_large_event_too_large() -> None:
    raw = _event(properties={str(n): "x" * 60_000 for n in range(4)})
    with pytest.raises(InvalidEvent, match="too large") as refused:
        _checked(raw)
    assert refused.value.code == "payload_too_large"


def test_check_event_bounds_the_future_and_the_past_only_by_the_calendar() -> None:
    assert _checked(_event(timestamp="0001-03-01T00:00:00Z")) == -62_130_499_200_000
    with pytest.raises(InvalidEvent, match=r"^Invalid field: timestamp$"):
        _checked(_event(timestamp="0001-02-28T23:59:59Z"))
    assert _checked(_event(timestamp="2024-11-14T22:13:20Z")) == RECEIVED + 366 * 86_400_000
    with pytest.raises(InvalidEvent, match=r"^Invalid field: timestamp$"):
        _checked(_event(timestamp="2024-11-14T22:13:21Z"))


@pytest.mark.parametrize(("depth", "core"), [(600, b"1"), (700, b"1"), (400, b'"\\u0000"')])
def test_check_event_refuses_nesting_that_the_decoder_still_takes(depth: int, core: bytes) -> None:
    with pytest.raises(InvalidEvent):
        _checked(_nested(depth, core))


def test_check_event_refuses_a_name_longer_than_the_setting() -> None:
    event = decode_event(b'{"event":"abcd"}')
    assert check_event(event, b"{}", EventLimits(name_characters=4), 7) == 7
    with pytest.raises(InvalidEvent, match=r"^Invalid field: event$"):
        check_event(event, b"{}", EventLimits(name_characters=3), 7)


def test_check_event_refuses_the_last_leap_second_of_time() -> None:
    with pytest.raises(InvalidEvent, match=r"^Invalid field: timestamp$"):
        _checked(_event(timestamp="9999-12-31T23:59:60Z"))


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
_FIELDS = st.sampled_from(
    ["event", "properties", "userId", "anonymousId", "sessionId", "timestamp", "eventId", "source", "context", "x"]
)


@given(st.dictionaries(_FIELDS, _JSON) | _JSON)
@settings(deadline=None, max_examples=300)
def test_any_json_is_an_event_or_an_invalid_event(value: Any) -> None:
    raw = json.dumps(value).encode()
    try:
        event = decode_event(raw)
        timestamp = check_event(event, raw, LIMITS, RECEIVED)
    except InvalidEvent:
        pass  # any other error fails the test
    else:
        assert event.event == value["event"]
        assert (event.properties or {}) == (value.get("properties") or {})
        assert isinstance(timestamp, int)


@given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_an_event_or_an_invalid_event(raw: bytes) -> None:
    with pytest.raises(InvalidEvent):
        _checked(raw)


_LINE = st.sampled_from([b'{"event":"a"}', b' {"event":"b"} ', b"", b"x", b'{"event":"c","properties":{"n":1}}'])


@given(st.lists(_LINE, min_size=1, max_size=5))
def test_decode_events_is_decode_event_of_each_line(lines: list[bytes]) -> None:
    together = decode_events(lines)
    if together is not None:
        assert together == [decode_event(line) for line in lines]


def test_decode_events_does_not_join_lines() -> None:
    assert decode_events([b'{"event":"a"', b'}{"event":"b"}']) is None
