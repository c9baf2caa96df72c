"""Lists of events in their order, and single ones."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.answers import EventsAnswer
from schemas.listing import EventsQuestion
from schemas.rows import Row
from storage.query.events import find_event, list_events
from tests import oracle
from tests.factories import LakeWriter, event_row
from tests.storage.query.asking import Asker, asking, span_of

START = datetime(2026, 2, 20, tzinfo=UTC)
SPAN = span_of("2026-02-20", "2026-02-22")


def _list(ask: Asker, question: EventsQuestion) -> EventsAnswer:
    return ask(lambda cursor, lake: list_events(cursor, lake, question, {}))


def _ids(answer: EventsAnswer) -> list[str]:
    return [item.event_id for item in answer.items]


def _crowded(draw: random.Random) -> list[Row]:
    """Many events at the same instants, on two partitions, several a record."""
    return [
        event_row(
            START + timedelta(hours=draw.randrange(80)),
            "u1",
            project=draw.choice([1, 1, 2]),
            place=(number % 2, number // 6, number // 2 % 3),
            is_bot=number % 17 == 0,
        )
        for number in range(120)
    ]


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_cursor_walks_every_row_once(tmp_path: Path, limit: int) -> None:
    writer = LakeWriter(tmp_path / "lake")
    rows = _crowded(random.Random(7))
    writer.append(rows[:60])
    writer.append(rows[60:])
    expected = [row.event_id for row in oracle.listed(rows, 1, SPAN)]
    walked: list[str] = []
    with asking(writer.place) as ask:
        after = None
        while True:
            answer = _list(ask, EventsQuestion(1, SPAN, limit, after))
            assert answer.total == len(expected)
            assert len(answer.items) <= limit
            walked += _ids(answer)
            if (after := answer.next) is None:
                break
    assert walked == expected


def test_item_is_as_it_was_sent(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    sent = b'{"b":1.0,"a":{"x":[null,"\xc3\xa9"]},"big":12345678901234567890}'
    writer.append(
        [
            event_row("2026-02-20T10:00:00.142", "user-1", properties=sent, source="sdk-web"),
            event_row("2026-02-20T09:00:00", "anon-1", identified_by="anonymous"),
            event_row("2026-02-20T08:00:00", "v_1", identified_by="visitor"),
            event_row("2026-02-20T07:00:00"),
        ]
    )
    with asking(writer.place) as ask:
        first, *others = _list(ask, EventsQuestion(1, SPAN)).items
    assert bytes(first.properties) == sent
    assert (first.user_id, first.timestamp, first.source) == ("user-1", "2026-02-20T10:00:00.142Z", "sdk-web")
    assert [item.user_id for item in others] == [None, None, None]
    assert others[0].timestamp == "2026-02-20T09:00:00Z"
    assert bytes(others[0].properties) == b"{}"


def test_filters(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    at = "2026-02-20T10:00:00"
    writer.append(
        [
            event_row(at, "u1", "click", event_id="a"),
            event_row(at, "u1", "Click", event_id="b", session="s1"),
            event_row(at, "u2", "click", event_id="c", source="kafka"),
            event_row(at, "u1", "click", event_id="d", identified_by="anonymous"),
            event_row(at, "u1", "click", event_id="bot", is_bot=True),
            event_row(at, "u1", "$heartbeat", event_id="system", is_system=True),
            event_row(at, "u1", "click", event_id="foreign", project=2),
            event_row("2026-02-23T00:00:00", "u1", "click", event_id="late"),
        ]
    )
    with asking(writer.place) as ask:
        assert sorted(_ids(_list(ask, EventsQuestion(1, SPAN)))) == ["a", "b", "c", "d"]
        assert sorted(_ids(_list(ask, EventsQuestion(1, SPAN, event="click")))) == ["a", "c", "d"]
        assert sorted(_ids(_list(ask, EventsQuestion(1, SPAN, user_id="u1")))) == ["a", "b"]
        assert _ids(_list(ask, EventsQuestion(1, SPAN, session_id="s1"))) == ["b"]
        assert _ids(_list(ask, EventsQuestion(1, SPAN, source="kafka"))) == ["c"]
        assert sorted(_ids(_list(ask, EventsQuestion(1, SPAN, includes_bots=True)))) == ["a", "b", "bot", "c", "d"]
        assert _ids(_list(ask, EventsQuestion(1, SPAN, event="' OR 1=1 --"))) == []


def test_empty_lake_lists_nothing(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    with asking(writer.place) as ask:
        assert _list(ask, EventsQuestion(1, SPAN)) == EventsAnswer((), 0, None, 0)


def test_single_event_and_its_place(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    writer.append([event_row("2026-02-20", "u1", event_id="mine", session="s1", place=(3, 41, 2), is_bot=True)])
    with asking(writer.place) as ask:
        found = ask(lambda cursor, lake: find_event(cursor, lake, 1, "mine"))
        assert found is not None
        assert (found.state, found.partition, found.offset, found.index, found.lake_version) == ("in_lake", 3, 41, 2, 1)
        assert (found.session_id, found.received_at) == ("s1", "2026-02-20T00:00:00.000Z")
        assert ask(lambda cursor, lake: find_event(cursor, lake, 2, "mine")) is None
        assert ask(lambda cursor, lake: find_event(cursor, lake, 1, "Mine")) is None
