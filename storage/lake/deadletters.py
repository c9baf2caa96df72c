"""Rejected lines as rows of the `dead_letters` table."""

from collections.abc import Sequence

import pyarrow as pa

from schemas.deadletters import DeadLetter
from storage.lake.columns import Chunk, merged
from storage.lake.tables import DEAD_LETTERS, LOG_COLUMN

_LETTERS = pa.schema([column for column in DEAD_LETTERS if column.name != LOG_COLUMN])


def dead_letters_table(letters: Sequence[DeadLetter]) -> Chunk:
    """Columns of dead letters, sorted as on disk; possibly none."""
    received = pa.array([letter.received for letter in letters], pa.timestamp("ms", tz="UTC"))
    columns = {
        "kafka_partition": [letter.partition for letter in letters],
        "kafka_offset": [letter.offset for letter in letters],
        "record_index": [letter.index for letter in letters],
        "reason": [letter.reason for letter in letters],
        "detail": [letter.detail or None for letter in letters],
        "raw": [letter.raw for letter in letters],
        "project_id": [letter.project for letter in letters],
        "distinct_id": [letter.distinct_id for letter in letters],
        "received_at": received.cast(DEAD_LETTERS.field("received_at").type),
        "date": received.cast(pa.date32()),
    }
    return merged([pa.table(columns, schema=_LETTERS)], "dead_letters")
