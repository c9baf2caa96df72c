"""Dead letters as rows."""

from datetime import UTC, date, datetime
from pathlib import Path

from schemas.deadletters import REASONS, DeadLetter
from storage.lake.commit import FencedTable, Span
from storage.lake.deadletters import dead_letters_table
from storage.lake.tables import DEAD_LETTERS
from tests.storage.lakes import CHAIN, arrow, make_lake

NOON = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1000)


def test_dead_letters_keep_their_bytes_and_places(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    letters = [
        DeadLetter(1, 9, 0, "malformed", b"\xff\x00\n{", NOON, "Malformed JSON", 7),
        DeadLetter(0, 2**40, -1, "gap", b'{"from": 1}', NOON - 86_400_000),
        DeadLetter(0, 3, 5, "empty record", b"", -1, project=None, distinct_id="p"),
    ]
    table = FencedTable(lake, "dead_letters", CHAIN)
    assert table.append(dead_letters_table(letters), {0: Span(None, 4), 1: Span(None, 10)}, {}, "test") is None
    found = {(row["kafka_partition"], row["kafka_offset"]): row for row in arrow(lake, "dead_letters").to_pylist()}
    assert found[1, 9] == {
        "kafka_partition": 1,
        "kafka_offset": 9,
        "record_index": 0,
        "reason": "malformed",
        "detail": "Malformed JSON",
        "raw": b"\xff\x00\n{",
        "project_id": 7,
        "distinct_id": None,
        "received_at": datetime(2026, 3, 1, 12, tzinfo=UTC),
        "date": date(2026, 3, 1),
        "kafka_log": CHAIN,
    }
    assert found[0, 2**40]["record_index"] == -1
    assert (found[0, 3]["detail"], found[0, 3]["distinct_id"], found[0, 3]["date"]) == (None, "p", date(1969, 12, 31))


def test_dead_letters_of_every_reason_and_of_none_have_the_schema() -> None:
    letters = [DeadLetter(0, n, 0, reason, b"", NOON) for n, reason in enumerate(REASONS)]
    assert [*dead_letters_table(letters).schema, DEAD_LETTERS.field("kafka_log")] == [*DEAD_LETTERS]
    assert dead_letters_table(letters)["reason"].to_pylist() == list(REASONS)
    assert dead_letters_table([]).num_rows == 0
