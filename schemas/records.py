"""One Kafka record, version 1: a micro-batch of events in segments, or lines of a foreign producer.

A segment is one header line and then exactly `n` event lines of one request. Lines end with the
single byte 0x0A and are found by counting, never by their looks.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

FORMAT = "1"
FORMAT_HEADER = "sg-format"
COUNT_HEADER = "sg-count"
DOOR_HEADER = "sg-door"
# Faust hands a record over for 65 us whatever is inside, so bigger is better, but 256 records of
# this size are what a worker may hold in memory.
MAX_RECORD_BYTES = 256 * 1024

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_TAIL = len(_DIGITS) ** 3


class SegmentHeader(Struct, frozen=True, omit_defaults=True):
    """The first line of a segment: what holds for all its events."""

    n: Annotated[int, Meta(ge=1)]
    project: int
    received: int
    base: Annotated[str, Meta(pattern="^[0-9A-Za-z]{12}$")]
    source: str
    ids: list[str | None] | None = None
    visitor: str | None = None
    country: str | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A decoded segment; `first` is the record-wide index of its first event line."""

    first: int
    header: SegmentHeader
    ended: Sequence[bytes]  # its lines with the byte that ends each

    @property
    def lines(self) -> list[bytes]:
        return [line[:-1] for line in self.ended]


@dataclass(frozen=True, slots=True)
class Broken:
    """The rest of a record that cannot be split into segments."""

    index: int
    raw: bytes


_HEADER = msgspec.json.Decoder(SegmentHeader)
_ENCODER = msgspec.json.Encoder()


def encode_segment(header: SegmentHeader, lines: Sequence[bytes]) -> bytes:
    """The bytes of one segment; no line may contain 0x0A."""
    return b"".join((_ENCODER.encode(header), b"\n", b"\n".join(lines), b"\n"))


def record_headers(count: int, door: str) -> list[tuple[str, bytes]]:
    """The Kafka headers of a record with `count` event lines."""
    return [(FORMAT_HEADER, FORMAT.encode()), (COUNT_HEADER, str(count).encode()), (DOOR_HEADER, door.encode())]


def decode_segments(value: bytes, count: int | None) -> Iterator[Segment | Broken]:
    """Split the value of a record of ours; `count` is what its header promised.

    Damage ends the iteration with one Broken that holds everything from the bad header line on.
    """
    # A third of what `split` costs, which looks at every byte by itself.
    lines = BytesIO(value).readlines()
    # Where the last line does not end, the record was cut off.
    is_terminated = value.endswith(b"\n")
    total = len(lines)
    at = index = 0
    while at < total:
        header = _header(lines[at])
        end = at + 1 + header.n if header is not None else total + 1
        is_last = end == total
        if (
            header is None
            or end > total
            or (is_last and (not is_terminated or (count is not None and index + header.n != count)))
        ):
            yield Broken(index, b"".join(lines[at:]))
            return
        yield Segment(index, header, lines[at + 1 : end])
        at, index = end, index + header.n
    if index == 0:
        yield Broken(0, value)


def _header(line: bytes) -> SegmentHeader | None:
    try:
        return _HEADER.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def minted_id(base: str, place: int) -> str:
    """The id of the event at `place` of a segment whose header says `base`."""
    tail = 0
    for digit in base[9:]:
        tail = tail * 62 + _VALUES[digit]
    return "evt_" + base[:9] + base62((tail + place) % _TAIL, 3)


def foreign_id(chain: str, partition: int, offset: int, index: int) -> str:
    """The id of a foreign event without one: the same for every reader of the same log."""
    digest = hashlib.sha256(f"{chain}/{partition}/{offset}/{index}".encode()).digest()
    return "evt_" + base62(int.from_bytes(digest) % 62**12, 12)


def base62(number: int, width: int) -> str:
    """`number` in `width` digits of [0-9A-Za-z], most significant first."""
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
