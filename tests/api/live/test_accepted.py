"""The stream of accepted events over HTTP: who may read, how many, and how it ends."""

import contextlib
import json
import queue
import socket
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from api.app import assemble
from api.live import accepted, stream
from api.live.accepted import AcceptedEvents
from api.log.reading import LogRecord
from api.settings import ApiSettings
from schemas.records import SegmentHeader, encode_segment
from storage.errors import Unavailable
from tests.api.serving import KEYS, OTHER, PROJECT, Served, run_app, wait_until
from tests.fakes import FakeKeys, FakeProducer

PATH = "/api/v1/events/stream"
RECEIVED = 1_771_800_000_142


class FakeTail:
    """The end of a log that the test appends to."""

    def __init__(self) -> None:
        self._records: queue.Queue[LogRecord] = queue.Queue()
        self.open = self.opened = 0
        self.failure: Exception | None = None

    def append(self, *lines: bytes, project: int = 7) -> None:
        header = SegmentHeader(len(lines), project, RECEIVED, "abcdefghijkl", "api")
        self._records.put(LogRecord(0, 0, 1, encode_segment(header, lines), "1"))

    def __call__(self) -> Generator[list[LogRecord], None, None]:
        self.open += 1
        self.opened += 1
        try:
            while True:
                if self.failure is not None:
                    raise self.failure
                yield [self._records.get() for _ in range(self._records.qsize())]
                time.sleep(0.005)
        finally:
            self.open -= 1


@contextlib.contextmanager
def serving(directory: Path, tail: FakeTail) -> Iterator[Served]:
    keys, producer = FakeKeys(dict(KEYS), {7: PROJECT, 8: OTHER}), FakeProducer()
    settings = ApiSettings(data_dir=directory, rate_limits=False)
    services = assemble(settings, producer, keys, keys.find_project)
    services.accepted = AcceptedEvents(tail)
    with run_app(services) as (url, loop), httpx.Client(base_url=url) as client:
        yield Served(url, client, services, producer, keys, loop)
    assert tail.open == 0, "the reader of the log ends with the process"


@pytest.fixture
def tail() -> FakeTail:
    return FakeTail()


@pytest.fixture
def api(tmp_path: Path, tail: FakeTail) -> Iterator[Served]:
    with serving(tmp_path, tail) as served:
        yield served


@contextlib.contextmanager
def listening(api: Served, **headers: str) -> Iterator[Iterator[tuple[str, object]]]:
    """Events as a browser reads them."""
    with (
        httpx.Client(base_url=api.url, headers={"X-API-Key": "sg_read", **headers}, timeout=20) as client,
        client.stream("GET", PATH) as response,
    ):
        assert response.status_code == 200, response.read()
        yield _events(response)


def _events(response: httpx.Response) -> Iterator[tuple[str, object]]:
    name = "message"
    for line in response.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)
            name = "message"


def streams(api: Served) -> int:
    return sum(map(len, api.services.accepted._listeners.values()))


def test_events_of_the_project_come_as_they_are_accepted(api: Served, tail: FakeTail) -> None:
    tail.append(b'{"event":"before"}', project=8)
    with listening(api) as mine, listening(api) as too:
        tail.append(b'{"event":"theirs"}', project=8)
        tail.append(b'{"event":"a","userId":"u"}')
        for incoming in (mine, too):
            name, event = next(incoming)
            assert isinstance(event, dict)
            assert (name, event["event"], event["userId"], event["isBot"]) == ("message", "a", "u", False)
        assert tail.opened == 1, "one reader of the log for all"
    wait_until(lambda: streams(api) == 0)
    wait_until(lambda: tail.open == 0, what="the end of reading, while nobody listens")


def test_of_many_a_part_comes_and_how_many_did_not(api: Served, tail: FakeTail) -> None:
    with listening(api) as incoming:
        tail.append(*[b'{"event":"a"}'] * 1000)
        found = [next(incoming) for _ in range(101)]
    assert [name for name, _ in found] == ["message"] * 100 + ["sampled"]
    assert found[-1][1] == {"shown": 100, "leftOut": 900}


def test_headers_of_a_stream(api: Served) -> None:
    answer = httpx.head(api.url + PATH, headers={"X-API-Key": "sg_read"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["access-control-allow-origin"] == "*"
    wait_until(lambda: streams(api) == 0)


@pytest.mark.parametrize(
    ("key", "query", "status"),
    [
        ("", "", 401),
        ("sg_ingest", "", 403),
        ("bj_live_admin", "", 401),
        ("sg_read", "?projectId=8", 403),
        ("sg_account", "", 400),
        ("sg_account", "?projectId=8", 403),
    ],
)
def test_who_may_not_read(api: Served, key: str, query: str, status: int) -> None:
    answer = httpx.get(api.url + PATH + query, headers={"X-API-Key": key})
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "message"}


def test_streams_are_bounded(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepted, "MOST_STREAMS_OF_A_PROJECT", 1)
    with listening(api):
        answer = httpx.get(api.url + PATH, headers={"X-API-Key": "sg_read"})
        assert (answer.status_code, answer.json()["error"]) == (429, "rate_limited")
    wait_until(lambda: streams(api) == 0)
    monkeypatch.setattr(accepted, "MOST_STREAMS", 0)
    answer = httpx.get(api.url + PATH, headers={"X-API-Key": "sg_read"})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    monkeypatch.undo()
    with listening(api):
        assert streams(api) == 1


def test_a_log_that_is_down_is_503_and_ends_those_who_listen(api: Served, tail: FakeTail) -> None:
    tail.failure = Unavailable("the log does not answer")
    assert httpx.get(api.url + PATH, headers={"X-API-Key": "sg_read"}).status_code == 503
    tail.failure = None
    with listening(api) as incoming:
        tail.failure = Unavailable("the log does not answer")
        assert list(incoming) == []
    tail.failure = None
    with listening(api) as incoming:
        tail.append(b'{"event":"again"}')
        assert next(incoming)[0] == "message"


def test_a_key_that_is_revoked_ends_its_stream(api: Served, tail: FakeTail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "COMMENT_SECONDS", 0.05)
    monkeypatch.setitem(api.keys.keys, b"sg_soon_gone", KEYS[b"sg_read"])
    with listening(api, **{"X-API-Key": "sg_soon_gone"}) as incoming:
        tail.append(b'{"event":"a"}')
        assert next(incoming)[0] == "message"
        del api.keys.keys[b"sg_soon_gone"]
        assert list(incoming) == []


def test_a_reader_that_takes_nothing_is_cut_off_and_the_others_go_on(api: Served, tail: FakeTail) -> None:
    line = json.dumps({"event": "a", "properties": {"text": "x" * 60_000}}).encode()
    address = urlsplit(api.url)
    with socket.socket() as slow, listening(api) as incoming:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((address.hostname, address.port))
        slow.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: sg_read\r\n\r\n".encode())
        wait_until(lambda: streams(api) == 2)
        deadline = time.monotonic() + 60
        while streams(api) == 2:
            assert time.monotonic() < deadline, "the slow one was not dropped"
            tail.append(line)
            assert next(incoming)[0] in ("message", "sampled")
        slow.settimeout(20)
        received = b"".join(iter(lambda: slow.recv(1024 * 1024), b""))
        assert not received.endswith(b"0\r\n\r\n"), "broken off, in place of waiting until it took everything"
        tail.append(b'{"event":"last"}')
        assert next(event for _, event in incoming if isinstance(event, dict) and event.get("event") == "last")


def test_streams_end_when_the_process_stops(tmp_path: Path, tail: FakeTail) -> None:
    with serving(tmp_path, tail) as api, listening(api) as incoming:
        api.loop.call_soon_threadsafe(api.services.begin_to_stop)
        assert list(incoming) == []
