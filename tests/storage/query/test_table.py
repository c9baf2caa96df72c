"""Events as rows of chosen columns."""

from pathlib import Path

from schemas.filters import equals
from schemas.selection import Selection
from schemas.table import TableQuestion
from storage.query.table import answer_table
from tests.factories import LakeWriter, event_row
from tests.storage.query.asking import asking, span_of


def test_the_newest_come_first_with_their_fields_and_properties(tmp_path: Path) -> None:
    LakeWriter(tmp_path).append(
        [
            event_row("2026-03-01T10:00:00", "a", "buy", properties=b'{"plan":"pro","n":2}'),
            event_row("2026-03-01T11:00:00", "b", "buy"),
            event_row("2026-03-01T12:00:00", "b", "click"),
            event_row("2026-03-01T13:00:00", "b", "buy", is_bot=True),
        ]
    )
    selection = Selection(1, span_of("2026-03-01", "2026-03-02"), equals("event", "buy"))
    question = TableQuestion(selection, ("timestamp", "event", "userId", "plan", "properties.n"), 10)
    with asking(tmp_path) as ask:
        answer = ask(lambda cursor, lake: answer_table(cursor, lake, question, {}))
        first = ask(lambda cursor, lake: answer_table(cursor, lake, TableQuestion(selection, ("userId",), 1), {}))

    assert answer.rows == ((1772362800000, "buy", "b", None, None), (1772359200000, "buy", "a", "pro", "2"))
    assert first.rows == (("b",),)
