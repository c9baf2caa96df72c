"""The checks of one event, and how a batch falls into events."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import Problem
from api.ingest.splitting import split_array
from api.ingest.validation import check_batch, check_line, check_syntax, split_batch
from schemas.events import EventLimits, InvalidEvent, decode_event

LIMITS = EventLimits()
NOW = 1_790_000_000_000

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(texts, json_values, max_size=5), st.sampled_from([None, 1, "\t"]))
def test_a_line_means_what_was_sent(properties: dict[str, Any], indent: int | str | None) -> None:
    sent = json.dumps({"event": "a", "properties": properties}, indent=indent, ensure_ascii=False)
    _, line = check_line(sent.encode(), LIMITS, NOW)
    assert b"\n" not in line
    assert json.loads(line) == json.loads(sent)
    assert decode_event(line).properties == properties


def test_the_senders_own_bytes_are_kept() -> None:
    raw = b'{ "event":"a",\t"properties":{"big":12345678901234567890123,"e":1.50e1,"e":2},"unknown":[1, 2] }'
    assert check_line(raw, LIMITS, NOW)[1] is raw


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{", "Malformed JSON"),
        (b'{"event":"a"} x', "Malformed JSON"),
        (b'{"event":"\xff"}', "Malformed JSON"),
        (b'{"event":"a","unknown":"\xff"}', "Malformed JSON"),
        (b'{"event":"a","unknown":"\xed\xa0\x80"}', "Malformed JSON"),
        (b'{"event":"a","properties":{"x":NaN}}', "Malformed JSON"),
        (b'{"event":"a","properties":{"x":Infinity}}', "Malformed JSON"),
        (b'{"event":"a","properties":{"x":' + b"[" * 100_000, "Malformed JSON: nested too deep"),
        (b'{"event":"a","properties":{"x":1e400}}', "Invalid field: properties"),
        (b'{"event":"a","properties":{"x":' + b'{"x":' * 40 + b"1" + b"}" * 42, "Invalid field: properties"),
        (b'{"event":"a","properties":[]}', "Invalid field: properties"),
        (b'{"event":"a","properties":"x"}', "Invalid field: properties"),
        (b'{"event":"a\\u0000"}', "Invalid event: NUL characters are not allowed"),
        (b'{"event":"\\ud800"}', "Malformed JSON"),
        (b"{}", "Missing required field: event"),
        (b'{"event":""}', "Missing required field: event"),
        (b'{"event":null}', "Missing required field: event"),
        (b'{"event":"  "}', "Missing required field: event"),
        ('{"event":"\u2003\\n"}'.encode(), "Missing required field: event"),
        (b'{"event":1}', "Invalid field: event"),
        (b'{"event":"' + b"x" * 257 + b'"}', "Invalid field: event"),
        (b'{"event":"a","userId":5}', "Invalid field: userId"),
        (b'{"event":"a","timestamp":"yesterday"}', "Invalid field: timestamp"),
        (b'{"event":"a","timestamp":"2999-01-01"}', "Invalid field: timestamp"),
        (b'{"event":"a","eventId":"' + b"x" * 513 + b'"}', "Invalid field: eventId"),
        (b"[]", "Invalid event: expected a JSON object"),
        (b"7", "Invalid event: expected a JSON object"),
    ],
)
def test_bad_events_are_refused(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        check_line(raw, LIMITS, NOW)
    assert caught.value.message == message
    assert caught.value.code == "bad_request"


def test_a_large_event_is_refused_by_size() -> None:
    with pytest.raises(InvalidEvent) as caught:
        check_line(b'{"event":"a","properties":{"x":"' + b"x" * LIMITS.event_bytes + b'"}}', LIMITS, NOW)
    assert caught.value.code == "payload_too_large"


A, B = b'{"event":"a"}', b'{"event":"b","events":[]}'


@pytest.mark.parametrize(
    ("body", "items"),
    [
        (b"[" + A + b" , " + B + b"]", [A, B]),
        (b' \r\n{"x":1,"events": [' + A + b"]}", [A]),
        (A, [A]),
        (A + b"\n" + B, [A, B]),
        (A + b"\r\n\n \n" + B + b"\n\n", [A, B]),
        (B + b"\n" + A, [B, A]),
        (A + b"\nnonsense", [A, b"nonsense"]),
        (b"nonsense", [b"nonsense"]),
        (b'{"events":[' + A, [b'{"events":[' + A]),
        (b"[1]", [b"1"]),
        (b'{"event":"a",\n"userId":"u"}', [b'{"event":"a",', b'"userId":"u"}']),
    ],
)
def test_a_batch_falls_into_its_events(body: bytes, items: list[bytes]) -> None:
    assert split_batch(body, 1000) == items


@given(st.lists(json_values, min_size=1, max_size=5), st.sampled_from([None, 1]))
def test_brackets_alone_find_the_items_that_a_decoder_finds(values: list[Any], indent: int | None) -> None:
    body = json.dumps(values, indent=indent, ensure_ascii=False).encode()
    found = split_array(body, 0)
    assert found is not None
    assert [json.loads(item) for item in found[0]] == values
    assert found[1] == len(body)


tricky = st.sampled_from(
    [
        {},
        5,
        {"event": " "},
        {"event": "a", "properties": []},
        {"event": "a", "properties": {"x": "},{"}},
        {"event": "a", "properties": {"x": "}, {", "y": [{}, {}]}},
        {"event": "a", "events": [{"event": "b"}, {"event": "c"}]},
        {"event": "a", "userId": "\\u0000 é"},
        {"event": "a", "userId": "\x00"},
        {"event": "a", "userId": "u" * 513},
        {"event": "a", "userId": "u" * 510, "context": {"url": "x" * 600}},
        {"event": "a", "properties": {"x": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}},
        {"event": "a", "unknown": {"x": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}},
        *(
            {"event": "a", "timestamp": text}
            for text in ("2026-09-21T14:13:20.000Z", "2026-09-21", "2026-09-21 10:00z")
        ),
        *({"event": "a", "timestamp": text} for text in ("0001-01-01", "2999-01-01T00:00:00Z", "2026-09-21T10:00+01")),
    ]
)
plain = st.fixed_dictionaries(
    {"event": texts.map("e".__add__), "properties": st.dictionaries(texts, json_values, max_size=2)}
)
forms = st.sampled_from(
    [b"[%b]", b'{"events":[%b]}', b'{"events": [%b]}', b' { "events" : [ %b ] } ', b"[%b", b"[%b]]"]
)


@given(
    st.lists(tricky | plain, min_size=1, max_size=4), forms, st.sampled_from([b",", b", ", b" ,\r\n"]), st.booleans()
)
def test_a_batch_is_judged_at_once_as_item_by_item(items: list[Any], form: bytes, comma: bytes, is_ascii: bool) -> None:
    separators = (", ", ": ") if comma == b", " else (",", ":")
    raws = [json.dumps(item, ensure_ascii=is_ascii, separators=separators).encode() for item in items]
    for body in (form % comma.join(raws), b"\n".join(raws), b"\r\n".join(raws)):
        assert judged(body) == one_by_one(body)


def judged(body: bytes) -> object:
    try:
        batch = check_batch(body, 3, LIMITS, NOW, None)
    except Problem as problem:
        return problem.message
    refused = [(index, one.code, one.message) for index, one in batch.refused.items()]
    return batch.events, batch.lines, refused


def one_by_one(body: bytes) -> object:
    events, lines, refused = [], [], []
    try:
        items = split_batch(body, 3)
    except Problem as problem:
        return problem.message
    for index, raw in enumerate(items):
        try:
            event, line = check_line(raw, LIMITS, NOW)
        except InvalidEvent as error:
            refused.append((index, error.code, error.message))
        else:
            events.append(event)
            lines.append(line)
    return events, lines, refused


DEEP = b"[" * 10_000 + b"]" * 10_000
HALF = rb'{"event":"\udc00 ]} \" , ["}'


@pytest.mark.parametrize(
    "bad", [DEEP, HALF, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b"nonsense", b'{"event":"\x01"}']
)
@pytest.mark.parametrize("form", [b"[%b]", b' {"x": [{}], "events" : [%b], "y": 1}\n'])
def test_one_item_beyond_any_decoder_leaves_the_others(form: bytes, bad: bytes) -> None:
    assert split_batch(form % b" , ".join((A, bad, B)), 1000) == [A, bad, B]
    assert split_batch(form % bad, 1000) == [bad]


@pytest.mark.parametrize(
    "body",
    [
        b"[" + HALF,
        b"[" + HALF + b",]",
        b"[" + HALF + b",," + A + b"]",
        b"[" + HALF + b"}",
        b"[" + HALF + b"] x",
        b"[" + HALF + b',"a]',
        b"[" + HALF + b",[" + b"[]" * 200_000 + b"]]",
    ],
)
def test_an_array_that_is_none_is_refused_whole(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        split_batch(body, 1000)
    assert (caught.value.status, caught.value.message) == (400, "Malformed JSON")


def test_an_envelope_that_is_none_falls_into_lines() -> None:
    body = b'{"meta":{"events":[1]},"events":[' + HALF + b"]}"
    assert split_batch(body, 1000) == [body]


@pytest.mark.parametrize(
    "body", [b"[" * 5_000_000, b"[" + b"[]" * 2_500_000, b"[" + b"1," * 2_500_000, b'["' + b"\\" * 5_000_000]
)
def test_entangled_bodies_take_no_time(body: bytes) -> None:
    started = time.process_time()
    with pytest.raises(Problem):
        split_batch(body, 1000)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "Malformed JSON"),
        (b" \n", 400, "Malformed JSON"),
        (b"[", 400, "Malformed JSON"),
        (b"[" + A + b"] x", 400, "Malformed JSON"),
        (b"[]", 400, "Missing required field: events"),
        (b'{"events":[]}', 400, "Missing required field: events"),
        (b'{"events":7}', 400, "Invalid field: events"),
        (b'{"events":null}', 400, "Invalid field: events"),
        (b"[" + b"1," * 3 + b"1]", 413, "Batch too large: at most 3 events"),
        (b"1\n" * 4, 413, "Batch too large: at most 3 events"),
    ],
)
def test_what_is_no_batch_is_refused(body: bytes, status: int, message: str) -> None:
    with pytest.raises(Problem) as caught:
        split_batch(body, 3)
    assert (caught.value.status, caught.value.message) == (status, message)


@pytest.mark.parametrize("body", [b"{}", b"[]", b"7", b'{}\n{"a":1}', b"nonsense\n{}"])
def test_json_and_lines_of_json_pass_the_syntax_check(body: bytes) -> None:
    check_syntax(body)


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense\nmore", b"[" * 100_000, b'"\xff"'])
def test_other_bodies_fail_the_syntax_check(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        check_syntax(body)
    assert caught.value.status == 400
