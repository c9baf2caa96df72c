"""Lines that kill the process that decodes them: how a record is decoded around them. Pure."""

from collections.abc import Mapping, Set
from dataclasses import replace

from processors.decode import Decoded, DecodePolicy, LogRecord, decode_record
from schemas.deadletters import DeadLetter, Reason
from schemas.records import FORMAT, FORMAT_HEADER, Broken, decode_segments, encode_segment

# Offsets to the record-wide indices of their poisonous lines.
Poison = Mapping[int, Set[int]]
# Stands among the indices for all of the record: it cannot even be split into lines.
WHOLE = -1

_REASON: Reason = "crashed the decoder"
_BLANK = b"!"  # is a line, and no event


def decode_around(record: LogRecord, policy: DecodePolicy, poison: Set[int], into: Decoded) -> None:
    """Append every line of a record, in order; those at the indices of `poison` become dead letters undecoded."""
    value = record.value or b""
    if WHOLE in poison:
        into.rejects.append(DeadLetter(record.partition, record.offset, 0, _REASON, value, record.timestamp))
        return
    defused, taken = _defused(record, value, poison)
    found = Decoded()
    decode_record(replace(record, value=defused), policy, found)
    found.rejects = [
        replace(letter, reason=_REASON, raw=taken[letter.index], detail="") if letter.index in taken else letter
        for letter in found.rejects
    ]
    into.extend(found)


def lines_in(record: LogRecord) -> int:
    """One more than the highest index that a line of the record can have; nothing of the lines is decoded."""
    if not _is_ours(record):
        return (record.value or b"").count(b"\n") + 1
    parts = list(decode_segments(record.value or b"", None))
    return sum(1 if isinstance(part, Broken) else len(part.ended) for part in parts)


def _defused(record: LogRecord, value: bytes, poison: Set[int]) -> tuple[bytes, dict[int, bytes]]:
    """The value with a harmless line at each of the indices, and what stood there."""
    taken: dict[int, bytes] = {}

    def line_at(index: int, line: bytes) -> bytes:
        if index not in poison:
            return line
        taken[index] = line
        return _BLANK

    if not _is_ours(record):
        lines = [line_at(index, line) for index, line in enumerate(value.split(b"\n"))]
        return b"\n".join(lines), taken
    parts: list[bytes] = []
    for part in decode_segments(value, None):
        if isinstance(part, Broken):  # never decoded
            parts.append(part.raw)
        else:
            lines = [line_at(part.first + place, line) for place, line in enumerate(part.lines)]
            parts.append(encode_segment(part.header, lines))
    return b"".join(parts), taken


def _is_ours(record: LogRecord) -> bool:
    return record.headers.get(FORMAT_HEADER) == FORMAT.encode()
