"""Records of ours: what was encoded is decoded, and damage is one broken piece, never a lost line."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records import (
    Broken,
    Segment,
    SegmentHeader,
    base62,
    decode_segments,
    encode_segment,
    foreign_id,
    minted_id,
)

_LINE = st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b" "))
_BASE = st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", min_size=12, max_size=12)
_TEXT = st.text(max_size=10)


@st.composite
def segments(draw: st.DrawFn) -> tuple[SegmentHeader, list[bytes]]:
    """A header and as many lines as it says."""
    lines = draw(st.lists(_LINE, min_size=1, max_size=5))
    ids = draw(st.none() | st.lists(st.none() | _TEXT, min_size=len(lines), max_size=len(lines)))
    header = SegmentHeader(
        n=len(lines),
        project=draw(st.integers(1, 2**53)),
        received=draw(st.integers(0, 2**41)),
        base=draw(_BASE),
        source=draw(_TEXT),
        ids=ids,
        visitor=draw(st.none() | _TEXT),
        country=draw(st.none() | st.just("DE")),
        agent=draw(st.none() | _TEXT),
    )
    return header, lines


def _record(parts: list[tuple[SegmentHeader, list[bytes]]]) -> tuple[bytes, int]:
    return b"".join(encode_segment(*part) for part in parts), sum(header.n for header, _ in parts)


@given(st.lists(segments(), min_size=1, max_size=4))
@settings(deadline=None)
def test_decode_segments_returns_what_was_encoded(parts: list[tuple[SegmentHeader, list[bytes]]]) -> None:
    value, count = _record(parts)
    decoded = list(decode_segments(value, count))
    assert all(isinstance(part, Segment) for part in decoded)
    found = [(part.header, list(part.lines)) for part in decoded if isinstance(part, Segment)]
    assert found == parts
    firsts = [part.first for part in decoded if isinstance(part, Segment)]
    assert firsts == [sum(header.n for header, _ in parts[:n]) for n in range(len(parts))]


@given(st.lists(segments(), min_size=1, max_size=4), st.data())
@settings(deadline=None)
def test_decode_segments_of_a_cut_record_keeps_every_byte(
    parts: list[tuple[SegmentHeader, list[bytes]]], data: st.DataObject
) -> None:
    value, count = _record(parts)
    cut = value[: data.draw(st.integers(1, len(value) - 1))]
    decoded = list(decode_segments(cut, count))
    assert isinstance(decoded[-1], Broken)
    whole = [part for part in decoded if isinstance(part, Segment)]
    assert [(part.header, list(part.lines)) for part in whole] == parts[: len(whole)]
    assert decoded[-1].index == sum(part.header.n for part in whole)
    assert b"".join(encode_segment(part.header, part.lines) for part in whole) + decoded[-1].raw == cut


@given(st.binary(min_size=1, max_size=200), st.integers(-1, 5))
def test_decode_segments_of_any_bytes_never_raises(value: bytes, count: int) -> None:
    decoded = list(decode_segments(value, count))
    assert decoded
    assert sum(isinstance(part, Broken) for part in decoded) <= 1
    assert [part for part in decoded if isinstance(part, Broken)] == [
        part for part in decoded[-1:] if isinstance(part, Broken)
    ]


HEADER = SegmentHeader(n=2, project=7, received=1, base="ABCDEFGHIJKL", source="api")
LINES = [b'{"event":"a"}', b'{"event":"b"}']


def test_decode_segments_whose_count_is_wrong_breaks_the_last_one() -> None:
    value = encode_segment(HEADER, LINES) * 2
    decoded = list(decode_segments(value, 3))
    assert isinstance(decoded[0], Segment)
    assert decoded[1:] == [Broken(2, encode_segment(HEADER, LINES))]


def test_decode_segments_with_a_damaged_second_header_keeps_the_first() -> None:
    rest = b"not a header\n" + b"\n".join(LINES) + b"\n"
    decoded = list(decode_segments(encode_segment(HEADER, LINES) + rest, 4))
    assert isinstance(decoded[0], Segment)
    assert decoded[1:] == [Broken(2, rest)]


@pytest.mark.parametrize("n", [0, -1, 3, 10**30])
def test_decode_segments_whose_n_is_not_the_lines_is_broken(n: int) -> None:
    value = b'{"n":%d,"project":7,"received":1,"base":"ABCDEFGHIJKL","source":"api"}\n' % n + b"\n".join(LINES) + b"\n"
    assert list(decode_segments(value, 2)) == [Broken(0, value)]


def test_decode_segments_takes_lines_that_look_like_headers_as_events() -> None:
    inner = encode_segment(HEADER, LINES).split(b"\n")[0]
    decoded = list(decode_segments(encode_segment(HEADER, [inner, inner]), 2))
    assert decoded == [Segment(0, HEADER, [inner + b"\n", inner + b"\n"])]


def test_decode_segments_of_only_a_newline_is_broken() -> None:
    assert list(decode_segments(b"\n", 0)) == [Broken(0, b"\n")]


@given(_BASE, st.integers(0, 5000))
def test_minted_id_counts_up_in_its_last_three_digits(base: str, place: int) -> None:
    minted = minted_id(base, place)
    assert re.fullmatch("evt_[0-9A-Za-z]{12}", minted)
    assert minted[:13] == "evt_" + base[:9]
    assert minted_id(base, 0) == "evt_" + base
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    number = 0
    for digit in base[9:]:
        number = number * 62 + digits.index(digit)
    assert minted[13:] == base62((number + place) % 62**3, 3)


def test_minted_ids_of_one_segment_differ() -> None:
    assert len({minted_id("zzzzzzzzzzzz", place) for place in range(62**3)}) == 62**3


def test_foreign_id_depends_on_the_place_only() -> None:
    assert foreign_id("c/t", 1, 2, 3) == foreign_id("c/t", 1, 2, 3)
    ids = {
        foreign_id(chain, p, o, i) for chain in ("c/t", "c/u") for p in range(4) for o in range(20) for i in range(4)
    }
    assert len(ids) == 2 * 4 * 20 * 4
    assert all(re.fullmatch("evt_[0-9A-Za-z]{12}", found) for found in ids)
