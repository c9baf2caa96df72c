"""The routes of realtime figures over HTTP, on a real socket."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.types import Message

from api.live.recent import RecentEvents
from api.live.view import LiveView
from api.routes.realtime import Poll, RealtimeLane
from schemas.answers import EventItem, raw_json
from schemas.projects import Dialect, Key, Scope
from tests.api.live.messages import slot, status, totals
from tests.api.live.servers import READ, Running, running
from tests.api.serving import wait_until
from tests.fakes import FakeKeys


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("api")) as app:
        app.source.end()
        yield app


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def give(app: Running, position: int, clicks: int, project: int = 1) -> None:
    app.source.give(
        status(now_ms()),
        slot(int(time.time()), position=position, events={"click": clicks}, ids=["a"], project=project),
    )


def get(app: Running, path: str = "/api/v1/realtime", **headers: str) -> httpx.Response:
    return httpx.get(f"{app.url}{path}", headers={**READ, **headers})


@pytest.mark.parametrize("path", ["/api/v1/realtime", "/compat/jcht/api/v1/realtime", "/api/v1/realtime/"])
def test_a_poll_gives_the_figures(served: Running, path: str) -> None:
    give(served, 1, 3)
    wait_until(lambda: get(served, path).json()["activeUsers"]["30s"] == 1)
    answer = get(served, path)
    assert answer.status_code == 200
    assert answer.json()["state"] == "live"
    assert answer.json()["topEvents"] == [{"name": "click", "count": 3}]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["streamgauge-timezone"] == "UTC"


def test_unchanged_figures_are_304_and_changed_ones_are_not(served: Running) -> None:
    give(served, 10, 77)
    wait_until(lambda: get(served).json()["events"] >= 77)
    unchanged, tag = httpx.Response(500), ""

    def is_unchanged() -> bool:
        # Once in ten seconds the windows move between two polls.
        nonlocal unchanged, tag
        tag = get(served).headers["etag"]
        unchanged = get(served, **{"If-None-Match": f'"other", {tag}'})
        return unchanged.status_code == 304

    wait_until(is_unchanged)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["etag"] == tag
    assert unchanged.headers["access-control-allow-origin"] == "*"
    assert get(served, **{"If-None-Match": '"other"'}).status_code == 200
    give(served, 11, 500)
    wait_until(lambda: get(served, **{"If-None-Match": tag}).status_code == 200)


def test_head_has_no_body(served: Running) -> None:
    answer = httpx.head(f"{served.url}/api/v1/realtime", headers=READ)
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 100


@pytest.mark.parametrize(
    ("method", "path", "key", "status_code", "code", "message"),
    [
        ("GET", "", None, 401, "unauthorized", "Invalid or missing API key"),
        ("GET", "", "nobody", 401, "unauthorized", "Invalid or missing API key"),
        ("GET", "", "ovyxa", 401, "unauthorized", "Invalid or missing API key"),
        ("GET", "", "ingest", 403, "forbidden", None),
        ("GET", "?minutes=0", "read", 400, "bad_request", "Invalid parameter: minutes"),
        ("GET", "?minutes=61", "read", 400, "bad_request", "Invalid parameter: minutes"),
        ("GET", "?minutes=", "read", 400, "bad_request", "Invalid parameter: minutes"),
        ("GET", "?minutes=%D9%A5", "read", 400, "bad_request", "Invalid parameter: minutes"),
        ("GET", "?minutes=99999999999999", "read", 400, "bad_request", "Invalid parameter: minutes"),
        ("GET", "", "account", 400, "bad_request", "Missing required parameter: projectId"),
        ("GET", "?projectId=2", "read", 403, "forbidden", None),
        ("GET", "?projectId=9", "account", 404, "not_found", "Not found"),
        ("POST", "", "read", 405, "method_not_allowed", "Method not allowed"),
        ("DELETE", "/stream", "read", 405, "method_not_allowed", "Method not allowed"),
        ("GET", "/stream", "ingest", 403, "forbidden", None),
        ("GET", "/prometheus", None, 401, "unauthorized", "Invalid or missing API key"),
    ],
)
def test_errors_have_the_native_form(
    served: Running, method: str, path: str, key: str | None, status_code: int, code: str, message: str | None
) -> None:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    answer = httpx.request(method, f"{served.url}/api/v1/realtime{path}", headers=headers)
    assert answer.status_code == status_code
    assert set(answer.json()) == {"error", "message"}
    assert answer.json()["error"] == code
    assert message is None or answer.json()["message"] == message
    assert answer.headers["access-control-allow-origin"] == "*"


def test_an_account_key_names_its_project(served: Running) -> None:
    give(served, 1, 4, project=2)
    url = f"{served.url}/api/v1/realtime?projectId=2&minutes=60"
    wait_until(lambda: httpx.get(url, headers={"X-API-Key": "account"}).json()["events"] == 4)
    assert len(httpx.get(url, headers={"X-API-Key": "account"}).json()["perMinute"]) == 60


def test_a_preflight_is_answered_without_a_key(served: Running) -> None:
    answer = httpx.options(f"{served.url}/api/v1/realtime", headers={"Origin": "https://x.example"})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"


def test_keys_that_cannot_be_looked_up_are_503(served: Running) -> None:
    served.keys.is_down = True
    try:
        answer = get(served)
    finally:
        served.keys.is_down = False
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1


def test_prometheus_reads_one_project(served: Running) -> None:
    served.source.give(status(now_ms()), totals(40, 2))
    answer = get(served, "/api/v1/realtime/prometheus")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'streamgauge_project_events_total{project="1"} 40\n' in answer.text


def events(response: httpx.Response) -> Iterator[dict[str, str]]:
    """Server-sent events as a browser reads them; comments are left out."""
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        if not line:
            if fields:
                yield fields
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")


def streamed(app: Running, client: httpx.Client, **headers: str) -> Any:
    return client.stream("GET", f"{app.url}/api/v1/realtime/stream", headers={**READ, **headers})


def test_a_stream_brings_changes_with_their_ids(served: Running) -> None:
    give(served, 2000, 2000)
    with httpx.Client(timeout=20) as client, streamed(served, client) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers["access-control-allow-origin"] == "*"
        incoming = events(response)
        assert next(incoming) == {"retry": "2000"}
        first = next(incoming)
        assert httpx.Response(200, content=first["data"]).json()["state"] == "live"
        give(served, 2001, 2001)
        second = next(incoming)
        assert second["id"] != first["id"]
        # The same bytes as a poll gives.
        assert httpx.Response(200, content=second["data"]).json()["activeUsers"]["30s"] == 1
    with httpx.Client(timeout=20) as client, streamed(served, client, **{"Last-Event-ID": second["id"]}) as response:
        incoming = events(response)
        next(incoming)
        give(served, 2002, 2002)
        assert next(incoming)["id"] != second["id"]


def test_a_reader_that_leaves_ends_its_stream(served: Running) -> None:
    wait_until(lambda: _streams(served) == 0)
    with httpx.Client(timeout=20) as client, streamed(served, client) as response:
        # Held on to: a generator that is dropped closes the connection.
        incoming = events(response)
        next(incoming)
        wait_until(lambda: _streams(served) == 1)
    wait_until(lambda: _streams(served) == 0)


def _streams(app: Running) -> int:
    return sum("_pump" in repr(task) for task in asyncio.all_tasks(app.loop))


def test_streams_end_when_the_process_stops(tmp_path: Path) -> None:
    with running(tmp_path) as app, httpx.Client(timeout=20) as client:
        app.source.end()
        with streamed(app, client) as response:
            wait_until(lambda: _streams(app) == 1)
            app.loop.call_soon_threadsafe(app.services.begin_to_stop)
            assert [set(event) for event in events(response)] == [{"retry"}, {"id", "data"}]


def test_a_reader_that_takes_nothing_costs_no_memory_and_does_not_hold_up_the_end() -> None:
    async def check() -> None:
        view, stopping, keys = (
            LiveView(),
            asyncio.Event(),
            FakeKeys({b"read": Key("k", Dialect.JCHT, Scope.READ, 1, 1)}),
        )
        view.is_complete = True
        lane = RealtimeLane(_no_app, view, None, keys, keys.find_project, stopping, "")
        sent: list[Message] = []

        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            sent.append(message)
            if len(sent) > 2:
                await asyncio.Event().wait()

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/api/v1/realtime/stream",
            "query_string": b"",
            "headers": [(b"x-api-key", b"read")],
        }
        call = asyncio.create_task(lane(scope, receive, send))
        while len(sent) < 3:
            await asyncio.sleep(0.01)
        for position in range(1, 50):
            view.apply(slot(int(time.time()), position=position, events={"click": position}))
            await asyncio.sleep(0.01)
        assert len(sent) == 3, "nothing is made for it while it does not take what it has"
        stopping.set()
        async with asyncio.timeout(10):
            await call

    asyncio.run(check())


async def _no_app(_scope: object, _receive: object, _send: object) -> None:
    raise AssertionError("not for the app")


def test_before_the_topic_is_read_there_are_no_figures_and_the_system_is_not_ready(tmp_path: Path) -> None:
    with running(tmp_path) as app:
        give(app, 1, 5)
        answer = get(app)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"] == "unavailable"
        assert "live counters are not read yet" in httpx.get(f"{app.url}/health/ready").json()["reasons"]
        app.source.end()
        assert get(app).json()["events"] == 5
        wait_until(lambda: httpx.get(f"{app.url}/health/ready").status_code == 200)
        app.source.give(status(now_ms() + 1, advanced_at=now_ms() - 60_000))
        wait_until(lambda: httpx.get(f"{app.url}/health/ready").status_code == 503)
        assert "has not advanced for" in httpx.get(f"{app.url}/health/ready").json()["reasons"][0]


def test_state_that_cannot_be_merged_is_500_for_its_project_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(tmp_path) as app:
        broken = msgspec.structs.replace(slot(int(time.time()), project=2), people=b"no sketch")
        app.source.give(status(now_ms()), slot(int(time.time())), broken)
        app.source.end()
        account = {"X-API-Key": "account"}
        answer = httpx.get(f"{app.url}/api/v1/realtime?projectId=2", headers=account)
        assert answer.status_code == 500
        assert answer.json() == {"error": "internal_error", "message": "Internal server error"}
        assert get(app).json()["events"] == 1
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{app.url}/api/v1/realtime/stream?projectId=2", headers=account)
    assert "request failed" in caplog.text


def test_a_stream_ends_when_its_key_is_revoked_and_not_when_the_database_is_away() -> None:
    async def check() -> None:
        keys = FakeKeys({b"read": Key("k", Dialect.JCHT, Scope.READ, 1, 1)})
        lane = RealtimeLane(_no_app, LiveView(), None, keys, keys.find_project, asyncio.Event(), "")
        poll = Poll(1, 5, {b"x-api-key": b"read"})
        assert await lane._is_allowed(poll)
        keys.is_down = True
        assert await lane._is_allowed(poll)
        keys.is_down = False
        del keys.keys[b"read"]
        assert not await lane._is_allowed(poll)

    asyncio.run(check())


def test_a_head_of_a_stream_ends_at_once(served: Running) -> None:
    answer = httpx.head(f"{served.url}/api/v1/realtime/stream", headers=READ)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")


def test_the_newest_events_come_from_the_lake(tmp_path: Path) -> None:
    async def load(project: int) -> list[EventItem]:
        return [EventItem("evt_1", "click", raw_json('{"a":1}'), "u1", "2027-01-15T08:00:00Z", "api")]

    with running(tmp_path, RecentEvents(load)) as app:
        app.source.end()
        assert get(app).json()["recent"] == [
            {
                "eventId": "evt_1",
                "event": "click",
                "userId": "u1",
                "timestamp": "2027-01-15T08:00:00Z",
                "source": "api",
            }
        ]


def test_a_root_path_is_part_of_the_path(tmp_path: Path) -> None:
    with running(tmp_path, root_path="/gauge") as app:
        app.source.end()
        assert get(app).status_code == 200
