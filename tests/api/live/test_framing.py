"""Frames of accepted events."""

import msgspec
import pytest

from api.live.framing import Framing
from api.log.reading import LogRecord
from schemas.records import SegmentHeader, encode_segment

RECEIVED = 1_771_800_000_142


def record(*lines: bytes, project: int = 1, agent: str | None = None) -> LogRecord:
    header = SegmentHeader(len(lines), project, RECEIVED, "abcdefghijkl", "api", visitor="v" * 22, agent=agent)
    return LogRecord(0, 4, 1, encode_segment(header, lines), "1")


def shown(*records: LogRecord) -> list[dict[str, object]]:
    block = Framing(lambda project: project == 1).blocks(records, 0.0).get(1, b"")
    return [msgspec.json.decode(frame.removeprefix(b"data: ")) for frame in block.split(b"\n\n") if frame]


def test_an_event_is_one_line_with_all_that_was_sent() -> None:
    line = (
        b'{"event":"a\\nb","userId":"u1","timestamp":"2026-02-22T10:30:00Z","properties":{"k":{"n":"\\n"}},'
        b'"sessionId":"s1","context":{"path":"/p"}}'
    )
    assert shown(record(line)) == [
        {
            "eventId": "evt_abcdefghijkl",
            "event": "a\nb",
            "properties": {"k": {"n": "\n"}},
            "userId": "u1",
            "timestamp": "2026-02-22T10:30:00Z",
            "source": "api",
            "sessionId": "s1",
            "context": {"url": None, "path": "/p", "title": None, "referrer": None, "userAgent": None},
            "receivedAt": "2026-02-22T22:40:00.142Z",
            "isBot": False,
        }
    ]


def test_only_events_of_wanted_projects_that_count_as_events() -> None:
    found = shown(
        record(b'{"event":"other"}', project=2),
        record(b'{"event":"$alias"}', b"no json", b'{"event":"mine"}'),
        LogRecord(1, 0, RECEIVED, b'{"event":"foreign","projectId":1}\n{"event":"not","projectId":2}', None),
    )
    assert [(one["event"], one["eventId"]) for one in found] == [("mine", "evt_abcdefghijkn"), ("foreign", None)]


@pytest.mark.parametrize(
    ("line", "agent", "is_bot"),
    [
        (b'{"event":"a"}', "Googlebot/2.1", True),
        (b'{"event":"a"}', "python-requests/2", False),
        (b'{"event":"a","context":{"userAgent":"Googlebot/2.1"}}', None, True),
        (b'{"event":"a","properties":{"$user_agent":"Googlebot/2.1"}}', None, True),
        # What an event forwards goes before its connection.
        (b'{"event":"a","context":{"userAgent":"Mozilla/5.0 Firefox/130"}}', "Googlebot/2.1", False),
    ],
)
def test_bots_are_marked(line: bytes, agent: str | None, is_bot: bool) -> None:
    assert [one["isBot"] for one in shown(record(line, agent=agent))] == [is_bot]


def test_what_is_left_out_is_told_a_second_later() -> None:
    framing = Framing(lambda _: True)
    block = framing.blocks([record(*[b'{"event":"a"}'] * 250)], 0.0)[1]
    assert block.count(b"data: ") == 100
    assert framing.blocks([], 0.5) == {}
    assert framing.blocks([], 1.0) == {1: b'event: sampled\ndata: {"shown":100,"leftOut":150}\n\n'}
