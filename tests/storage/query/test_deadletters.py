"""Dead letters as they come."""

from pathlib import Path

from schemas.deadletters import DeadLetter
from storage.lake.commit import FencedTable, Span
from storage.lake.deadletters import dead_letters_table
from storage.lake.tables import create_tables
from storage.query.deadletters import DeadLetterTail
from tests.factories import CHAIN
from tests.storage.query.asking import asking


def _append(table: FencedTable, letters: list[DeadLetter]) -> None:
    spans = {letter.partition: Span(table.position(letter.partition), letter.offset + 1) for letter in letters}
    assert table.append(dead_letters_table(letters), spans, {}, "test") is None
    table.reload()


def _letter(partition: int, offset: int, index: int = 0) -> DeadLetter:
    return DeadLetter(partition, offset, index, "malformed", b"{", 1_700_000_000_000, project=1)


def test_only_what_came_since(tmp_path: Path) -> None:
    create_tables(tmp_path / "lake")
    table = FencedTable(tmp_path / "lake", "dead_letters", CHAIN)
    _append(table, [_letter(0, 5)])
    with asking(tmp_path / "lake") as ask:
        tail = DeadLetterTail(ask.lake)
        assert ask(lambda cursor, _: tail.fresh(cursor)) == []
        _append(table, [_letter(0, 6), _letter(0, 6, 1), _letter(1, 2)])
        found = ask(lambda cursor, _: tail.fresh(cursor))
        assert [(letter.partition, letter.offset, letter.index) for letter in found] == [
            (0, 6, 0),
            (0, 6, 1),
            (1, 2, 0),
        ]
        assert (found[0].reason, found[0].project, found[0].received) == ("malformed", 1, 1_700_000_000_000)
        assert ask(lambda cursor, _: tail.fresh(cursor)) == []
