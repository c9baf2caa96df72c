"""The demo's parts: flights as events, a door that refuses, answers that differ."""

import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import duckdb
import pytest

from api.cli.main import main
from api.cli.output import Failure
from api.demo.answers import Comparison, wait_for_lake
from api.demo.door import Door, send_all
from api.demo.flights import ROWS, Flight, census, day_like, flights_file, history_event, read_flights, timetable
from api.demo.replay import Sent, due_after, run


def test_the_first_flight_is_the_event_of_its_row() -> None:
    [flight] = read_flights(flights_file(), 1)

    assert history_event(flight) == {
        "event": "flight",
        "eventId": "flight-1",
        "timestamp": "2013-01-01T10:15:00Z",  # 5:15 in New York, in winter
        "userId": "N14228",
        "properties": {
            "carrier": "UA",
            "origin": "EWR",
            "destination": "IAH",
            "number": 1545,
            "departureDelay": 2,
            "arrivalDelay": 11,
            "airTime": 227,
            "distance": 1400,
        },
    }


def test_what_is_not_known_is_left_out() -> None:
    flights = list(read_flights(flights_file(), 20_000))
    cancelled = next(flight for flight in flights if not flight.tail)

    assert "userId" not in history_event(cancelled)
    assert set(cancelled.properties) == {"carrier", "origin", "destination", "number", "distance"}


def test_the_census_equals_another_engine_and_what_is_known(tmp_path: Path) -> None:
    """DuckDB reads the file by itself, and its `time_hour`, in UTC, judges our time zones."""
    with zipfile.ZipFile(flights_file()) as archive:
        source = archive.extract("flights.csv", tmp_path)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE TABLE flights AS FROM read_csv('{source}', nullstr = 'NA')")
        judged = connection.execute(
            "SELECT count(*), count(DISTINCT carrier), count(DISTINCT tailnum), count(*) FILTER (tailnum IS NULL),"
            " sum(distance), max(epoch(time_hour::TIMESTAMPTZ)), sum(epoch(time_hour::TIMESTAMPTZ) + minute * 60) "
            "FROM flights"
        ).fetchone()
        by_origin = dict(connection.execute("SELECT origin, count(*) FROM flights GROUP BY 1").fetchall())
    flights = list(read_flights(flights_file()))
    ours = census(flights)
    instants = [flight.departure.timestamp() for flight in flights]
    assert judged == (
        ours.flights,
        len(ours.carriers),
        len(ours.tails),
        ours.without_tail,
        sum(flight.properties["distance"] for flight in flights),
        max(int(instant) // 3600 * 3600 for instant in instants),
        sum(instants),
    )
    assert judged[:4] == (ROWS, 16, 4043, 2512)
    assert ours.origins == by_origin == {"EWR": 120_835, "JFK": 111_279, "LGA": 104_662}
    assert ours.months.total() == ROWS


def _flight(row: int, at: str) -> Flight:
    return Flight(row, datetime.fromisoformat(at), f"N{row}", {})


def test_a_day_is_squeezed_and_ordered() -> None:
    flights = [_flight(1, "2013-03-01T22:00Z"), _flight(2, "2013-03-01T06:00Z"), _flight(3, "2013-03-01T14:00Z")]
    departures = timetable([*flights, _flight(4, "2013-03-02T06:00Z")], date(2013, 3, 1), 60)

    assert [(one.flight.row, one.after_seconds) for one in departures] == [(2, 0.0), (3, 30.0), (1, 60.0)]
    assert [due_after(departures, seconds) for seconds in (0, 29, 30, 60)] == [1, 1, 2, 3]
    assert timetable(flights, date(2013, 4, 1), 60) == []


def test_a_leap_day_has_a_day_of_2013() -> None:
    assert day_like(date(2028, 2, 29)) == date(2013, 2, 28)
    assert day_like(date(2026, 11, 24)) == date(2013, 11, 24)


def test_an_answer_must_equal_the_file_and_what_is_known() -> None:
    assert Comparison("flights", 3, 3, "", 3).is_right
    assert Comparison("flights", 3, 3, "").is_right
    assert not Comparison("flights", 3, 4, "").is_right
    assert not Comparison("flights", 3, 3, "", 4).is_right
    assert "NO" in Comparison("flights", 3, 4, "").cells()


Answer: TypeAlias = tuple[int, dict[str, str], Any]


class Script(BaseHTTPRequestHandler):
    """Answers by a list, its last entry for ever; keeps what was accepted."""

    answers: ClassVar[list[Answer]] = []
    accepted: ClassVar[list[str]] = []
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = self._reply()
        if status == 200:
            self.accepted.extend(event["eventId"] for event in body)

    def do_GET(self) -> None:
        self._reply()

    def _reply(self) -> int:
        status, headers, answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if status == 0:  # hang up
            self.close_connection = True
            return status
        content = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        return status

    def log_message(self, *_: object) -> None:
        """Nothing on the test's terminal."""


OK: Answer = (200, {}, {"errors": [], "receivedAt": "2026-01-01T00:00:00.000Z"})


@contextmanager
def answering(*answers: Answer) -> Iterator[tuple[str, list[str]]]:
    """A server's address, and the ids that it accepted."""

    class Own(Script):
        pass

    Own.answers, Own.accepted = list(answers), []
    with ThreadingHTTPServer(("127.0.0.1", 0), Own) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", Own.accepted
        finally:
            server.shutdown()
            thread.join()


EVENTS = [{"eventId": f"e{number}"} for number in range(4500)]


def test_all_are_sent_once_in_several_batches() -> None:
    delivered: list[int] = []
    with answering(OK) as (url, accepted):
        assert send_all(url, "key", EVENTS, delivered.append) == "2026-01-01T00:00:00.000Z"
    assert sorted(accepted) == sorted(event["eventId"] for event in EVENTS)
    assert sorted(delivered) == [500, 1000, 1000, 1000, 1000]


@pytest.mark.parametrize("status", [0, 503, 429])
def test_what_was_not_taken_is_sent_again_when_asked_to(status: int) -> None:
    with answering((status, {"Retry-After": "0"}, {}), OK) as (url, accepted), Door(url, "key") as door:
        door.send(EVENTS[:2])
    assert accepted == ["e0", "e1"]


def test_a_door_that_takes_nothing_is_a_failure() -> None:
    refusing = answering((503, {"Retry-After": "1"}, {"error": "unavailable"}))
    with refusing as (url, _), Door(url, "key", patience_seconds=0) as door, pytest.raises(Failure, match=r"503.*unav"):
        door.send(EVENTS[:1])


def test_a_refused_event_is_a_failure_and_ends_the_others() -> None:
    errors = [{"index": 0, "error": "bad_request", "message": "no name"}]
    drawn: list[int] = []

    def endless() -> Iterator[Any]:
        for number in range(100_000):
            drawn.append(number)
            yield {"eventId": str(number)}

    with (
        answering((200, {}, {"errors": errors, "rejected": 1, "receivedAt": ""})) as (url, _),
        pytest.raises(Failure, match="1 events were refused, the first: no name"),
    ):
        send_all(url, "key", endless(), lambda _: None)
    assert len(drawn) < 10_000


def test_another_error_is_not_repeated() -> None:
    with (
        answering((400, {}, {"error": "bad_request"}), OK) as (url, accepted),
        Door(url, "key") as door,
        pytest.raises(Failure, match="400"),
    ):
        door.send(EVENTS[:1])
    assert accepted == []


def test_an_address_must_be_one() -> None:
    with pytest.raises(Failure, match="no address of an API"):
        Door("localhost:8000", "key")


def test_the_lake_is_waited_for_until_its_watermark_passes() -> None:
    marks = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.900Z", "2026-01-01T00:00:01Z"]
    answers: list[Answer] = [(200, {"Streamgauge-Watermark": mark}, {}) for mark in marks]
    with answering(*answers) as (url, _), Door(url, "key") as door:
        wait_for_lake(door, "2026-01-01T00:00:01.000Z")
        # The last goes on for ever: a lake that stands still.
        with pytest.raises(Failure, match="nothing newer than 2026-01-01T00:00:01"):
            wait_for_lake(door, "2026-01-01T00:00:01.001Z", seconds=0)


def test_a_replay_sends_each_flight_now_and_under_its_own_id() -> None:
    departures = timetable([_flight(n, f"2013-03-01T0{n}:00Z") for n in (1, 2, 3)], date(2013, 3, 1), 0.2)
    with answering(OK) as (url, accepted), Door(url, "key") as door:
        sent = run(door, departures, "replay-7-", threading.Event())
    assert sent == Sent(3, "2026-01-01T00:00:00.000Z")
    assert accepted == ["replay-7-1", "replay-7-2", "replay-7-3"]


def test_a_replay_ends_when_it_is_asked_to() -> None:
    far = datetime.now(UTC) + timedelta(hours=1)
    departures = timetable([_flight(1, "2013-03-01T01:00Z"), _flight(2, "2013-03-01T02:00Z")], date(2013, 3, 1), 3600)
    stop = threading.Event()
    stop.set()
    with answering(OK) as (url, accepted), Door(url, "key") as door:
        assert run(door, departures, "replay-7-", stop).events == 1
    assert accepted == ["replay-7-1"]
    assert datetime.now(UTC) < far


def test_without_a_running_system_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--data-dir", str(tmp_path / "data")])
    assert ended.value.code == 1
    assert "start `streamgauge up` on it" in capsys.readouterr().err
