"""What workers say about the present: state of a slot, totals of a project, status of a partition, refused lines.

Counters on the live topic are state, not delta: a replay overwrites and cannot double count.
"""

from typing import Literal

import msgspec
from msgspec import Struct

SLOT_SECONDS = 10
# Realtime answers reach back an hour; late events and clock skew get ten minutes more.
WINDOW_SECONDS = 3600 + 600


class SlotState(Struct, frozen=True, tag="slot", array_like=True):
    """All that one partition knows of one project in ten seconds of event time."""

    chain: str
    partition: int
    next: int
    project: int
    slot: int  # unix seconds of its start
    events: dict[str, int]
    pageviews: int
    people: bytes  # a sketch; merge, never add
    paths: dict[str, int]
    referrers: dict[str, int]
    countries: dict[str, int]


class ProjectTotals(Struct, frozen=True, tag="totals", array_like=True):
    """Events of one project that one partition has accepted since the beginning."""

    chain: str
    partition: int
    next: int
    project: int
    events: int
    pageviews: int


class PartitionStatus(Struct, frozen=True, tag="status", array_like=True):
    """A heartbeat of a partition's owner; offsets are the next to read."""

    chain: str
    partition: int
    next: int  # accepted up to here
    durable: int  # in the lake up to here
    end: int  # end of the log
    state: Literal["live", "rebuilding"]
    at: int  # unix ms
    advanced_at: int  # unix ms when it last advanced or stood at the end
    last_timestamp: int  # log append time (unix ms) of the record before `durable`
    worker: str
    flush_error: str | None = None
    end_at: int = 0  # unix ms when the broker was asked for `end`


class Refusal(Struct, frozen=True, tag="refusal", array_like=True):
    """A line that a worker has just refused: for people who look, until it is in `dead_letters`. Never its bytes."""

    chain: str
    partition: int
    offset: int
    index: int
    received: int  # unix ms
    reason: str
    detail: str
    project: int | None


LiveMessage = SlotState | ProjectTotals | PartitionStatus | Refusal

# The compacted topic keeps at most so many refusals of a partition; who follows it sees all of them.
_KEPT_REFUSALS = 64
REFUSAL_KEY = b"refusal/"

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(LiveMessage)


def live_key(message: LiveMessage) -> bytes:
    """The compaction key: the latest value of each is all that counts."""
    match message:
        case SlotState():
            return f"slot/{message.partition}/{message.project}/{message.slot}".encode()
        case ProjectTotals():
            return f"totals/{message.partition}/{message.project}".encode()
        case PartitionStatus():
            return f"status/{message.partition}".encode()
        case Refusal():
            return REFUSAL_KEY + b"%d/%d" % (message.partition, (message.offset + message.index) % _KEPT_REFUSALS)


def encode_live(message: LiveMessage) -> bytes:
    """The value of a live record."""
    return _ENCODER.encode(message)


def decode_live(value: bytes) -> LiveMessage:
    """Raises msgspec.DecodeError or msgspec.ValidationError for what is not a live record."""
    message: LiveMessage = _DECODER.decode(value)
    return message
