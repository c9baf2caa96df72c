"""Records decoded around lines that must not be looked at."""

from dataclasses import replace

from processors.decode import LogRecord
from processors.poison import WHOLE, lines_in
from schemas.deadletters import DeadLetter
from schemas.rows import Row
from tests.processors.records import (
    PROJECT,
    door_headers,
    door_record,
    door_value,
    event_line,
    foreign_record,
    items_of,
)


def _two_segments() -> LogRecord:
    values = [door_value([event_line(f"{segment}{n}") for n in range(3)], f"{segment:012d}") for segment in range(2)]
    return LogRecord(0, 9, 1, b"".join(values), door_headers(6))


def test_the_lines_around_keep_their_ids_and_places() -> None:
    record = _two_segments()
    whole = items_of(record)

    around = items_of(record, {1, 5})

    assert [item for index, item in enumerate(around) if index not in (1, 5)] == [
        item for index, item in enumerate(whole) if index not in (1, 5)
    ]
    first, second = around[1], around[5]
    assert isinstance(first, DeadLetter)
    assert isinstance(second, DeadLetter)
    assert (first.index, first.raw, first.reason) == (1, event_line("01"), "crashed the decoder")
    assert (second.index, second.raw, second.project) == (5, event_line("12"), PROJECT)


def test_foreign_lines_and_blank_ones_between_them() -> None:
    lines = [event_line("a", projectId=PROJECT), b"", event_line("b", projectId=PROJECT), b"{"]
    items = items_of(foreign_record(b"\n".join(lines), 4), {2})

    assert [type(item) for item in items] == [Row, DeadLetter, DeadLetter]
    letters = [item for item in items if isinstance(item, DeadLetter)]
    assert [(x.index, x.reason, x.raw) for x in letters] == [
        (2, "crashed the decoder", lines[2]),
        (3, "malformed", b"{"),
    ]


def test_a_record_that_is_poison_as_a_whole_is_one_line() -> None:
    record = door_record(3, [event_line(), event_line()])
    [item] = items_of(record, {WHOLE})
    assert isinstance(item, DeadLetter)
    assert (item.index, item.reason, item.raw) == (0, "crashed the decoder", record.value)


def test_what_cannot_be_split_stays_a_dead_letter_of_its_own_kind() -> None:
    record = _two_segments()
    torn = replace(record, value=(record.value or b"")[:-1])

    items = items_of(torn, {0})

    reasons = [item.reason for item in items if isinstance(item, DeadLetter)]
    assert reasons == ["crashed the decoder", "broken segment"]
    assert items[1:] == items_of(torn)[1:]


def test_lines_are_counted_without_decoding_them() -> None:
    assert lines_in(_two_segments()) == 6
    assert lines_in(replace(_two_segments(), value=b"no header\n")) == 1
    assert lines_in(foreign_record(b"a\n\nb")) == 3
