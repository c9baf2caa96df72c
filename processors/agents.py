"""From what Faust hands over to records of ours."""

from collections.abc import Sequence

from faust.types import EventT

from processors.decode import LogRecord
from processors.worker import Received


def received(events: Sequence[EventT[bytes]]) -> list[Received]:
    """The records of one take, with the generation each was fetched under."""
    return [_received(event) for event in events]


def _received(event: EventT[bytes]) -> Received:
    message = event.message
    headers = message.headers or {}
    pairs = headers.items() if isinstance(headers, dict) else headers
    return Received(
        LogRecord(
            partition=message.partition,
            offset=message.offset,
            timestamp=round(message.timestamp * 1000),
            value=message.value,
            headers=dict(pairs),
        ),
        generation=-1 if message.generation_id is None else message.generation_id,
    )
