"""A project's dead letters, newest first."""

from schemas.instants import format_instant
from schemas.letters import Letter, LettersAnswer, LettersQuestion
from storage.lake.snapshot import relation
from storage.query.engine import Cursor
from storage.query.lake import Lake

# A page of a thousand must not be a gigabyte.
_MOST_BYTES = 10_000


def list_letters(cursor: Cursor, lake: Lake, question: LettersQuestion) -> LettersAnswer:
    """A page of them; of each the first ten thousand bytes."""
    source, files = relation(lake.snapshot("dead_letters"))
    where = "project_id = ? AND received_at >= ? AND received_at < ?"
    bound = [*files, question.project, question.span.start, question.span.end]
    if question.reason is not None:
        where, bound = f"{where} AND reason = ?", [*bound, question.reason]
    found = cursor.rows(
        "SELECT reason, detail, kafka_partition, kafka_offset, record_index, raw, epoch_ms(received_at),"
        f" count(*) OVER () FROM {source} WHERE {where}"
        " ORDER BY received_at DESC, kafka_partition DESC, kafka_offset DESC, record_index DESC"
        f" LIMIT {question.limit} OFFSET {question.offset}",
        bound,
    )
    letters = tuple(
        Letter(reason, detail, partition, offset, index, raw[:_MOST_BYTES].decode("utf-8", "backslashreplace"), at)
        for reason, detail, partition, offset, index, raw, at in ((*row[:6], format_instant(row[6])) for row in found)
    )
    return LettersAnswer(letters, found[0][-1] if found else 0)
