"""A line that could not become an event, and the closed set of reasons."""

from dataclasses import dataclass
from typing import Literal, get_args

Reason = Literal[
    "malformed",  # not JSON, not UTF-8, or nested too deep
    "invalid event",  # JSON, but not an event that may be kept
    "unknown project",  # a foreign line that names no project we know
    "broken segment",  # a record of ours whose rest cannot be split
    "unknown format",  # a record of a version this worker does not know
    "empty record",  # a null or empty value
    "crashed the decoder",  # a line that killed the process that read it
    "gap",  # offsets that the log lost before they were read
    "void",  # offsets that never held data
]
REASONS: tuple[Reason, ...] = get_args(Reason)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One rejected line: where it stands in the log, why, and its bytes.

    `index` is -1 for `gap` and `void`, which stand for offsets instead of lines.
    """

    partition: int
    offset: int
    index: int
    reason: Reason
    raw: bytes
    received: int
    detail: str = ""
    project: int | None = None
    distinct_id: str | None = None
