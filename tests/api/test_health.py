"""Health, metrics, and errors of the framework in the surface's form."""

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Query

from api.app import assemble, create_app
from api.errors import Problem
from api.health import Readiness, lake_check
from api.settings import ApiSettings
from tests.api.serving import serve_fake, wait_until
from tests.fakes import FakeKeys, FakeProducer


def test_a_running_system_is_ready(tmp_path: Path) -> None:
    with serve_fake(tmp_path) as api:
        assert api.client.get("/health/live").json() == {"status": "live"}
        assert api.client.get("/health/ready").json() == {"status": "ready", "reasons": []}


def test_a_lake_that_cannot_be_written_is_a_reason(tmp_path: Path) -> None:
    with serve_fake(tmp_path) as api:
        (tmp_path / "lake").rmdir()
        wait_until(lambda: api.client.get("/health/ready").status_code == 503)
        [reason] = api.client.get("/health/ready").json()["reasons"]
        assert reason.startswith("lake is not writable: ")
        assert api.client.get("/health/live").status_code == 200


def test_checks_are_added_and_asked_once_a_second() -> None:
    asked = 0

    async def check() -> list[str]:
        nonlocal asked
        asked += 1
        return ["first", "second"]

    async def scenario() -> None:
        readiness = Readiness()
        readiness.add(check)
        answers = await asyncio.gather(*(readiness.reasons() for _ in range(10)))
        assert answers == [["first", "second"]] * 10
        readiness.is_stopping = True
        assert await readiness.reasons() == ["stopping", "first", "second"]

    asyncio.run(scenario())
    assert asked == 1


def test_the_lake_check_leaves_nothing_behind(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        return await lake_check(tmp_path)()

    assert asyncio.run(scenario()) == []
    assert list(tmp_path.iterdir()) == []


def test_metrics_count_requests_and_events(tmp_path: Path) -> None:
    with serve_fake(tmp_path) as api:

        def value(line: str) -> float:
            found = [text for text in api.client.get("/metrics").text.splitlines() if text.startswith(line + " ")]
            return float(found[0].split()[-1]) if found else 0

        accepted = 'streamgauge_events_accepted_total{lane="api"}'
        refused = 'streamgauge_events_refused_total{code="bad_request"}'
        requests = 'streamgauge_requests_total{status="400"}'
        before = value(accepted), value(refused), value(requests)
        api.client.post("/api/v1/events/batch", json=[{"event": "a"}, {"event": "b"}, {}])
        api.client.post("/api/v1/events", json={})
        wait_until(lambda: (value(accepted), value(refused)) == (before[0] + 2, before[1] + 2))
        assert value(requests) == before[2] + 1


def test_metrics_leave_the_port_when_they_have_their_own(tmp_path: Path) -> None:
    with serve_fake(tmp_path, metrics_port=18_999) as api:
        assert api.client.get("/metrics").status_code == 404


def test_the_lifespan_counts_what_it_could_not_send(tmp_path: Path) -> None:
    with serve_fake(tmp_path, grace_seconds=1) as api:
        api.producer.is_holding = True
        with pytest.raises(httpx.ReadTimeout):
            api.client.post("/api/v1/events", json={"event": "a"}, timeout=0.2)
        wait_until(lambda: api.producer.held)
    assert api.services.unsent == 1
    assert api.services.stopping.is_set()


class TestErrors:
    """A framework's errors, with routes that make them."""

    def get(self, tmp_path: Path, path: str, method: str = "GET") -> httpx.Response:
        router = APIRouter()

        @router.get("/api/v1/number")
        async def number(n: int = Query()) -> int:
            return n

        @router.get("/api/v1/broken")
        async def broken() -> None:
            raise RuntimeError("a secret")

        @router.get("/api/v1/problem")
        async def problem() -> None:
            raise Problem(409, "It exists already", ((b"x-more", b"1"),))

        keys = FakeKeys()
        services = assemble(ApiSettings(data_dir=tmp_path), FakeProducer(), keys, keys.find_project)
        app = create_app(services.settings, services)
        fastapi = _inner(app)
        fastapi.include_router(router)

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                return await client.request(method, path)

        return asyncio.run(ask())

    @pytest.mark.parametrize(
        ("path", "method", "status", "body"),
        [
            ("/api/v1/none", "GET", 404, {"error": "not_found", "message": "Not found"}),
            ("/none", "GET", 404, {"error": "not_found", "message": "Not found"}),
            ("/api/v1/number?n=1", "PUT", 405, {"error": "method_not_allowed", "message": "Method not allowed"}),
            ("/api/v1/number", "GET", 400, {"error": "bad_request", "message": "Missing required parameter: n"}),
            ("/api/v1/number?n=x", "GET", 400, {"error": "bad_request", "message": "Invalid parameter: n"}),
            ("/api/v1/broken", "GET", 500, {"error": "internal_error", "message": "Internal server error"}),
            ("/api/v1/problem", "GET", 409, {"error": "conflict", "message": "It exists already"}),
        ],
    )
    def test_all_have_one_form(self, tmp_path: Path, path: str, method: str, status: int, body: dict[str, str]) -> None:
        response = self.get(tmp_path, path, method)
        assert (response.status_code, response.json()) == (status, body)
        assert response.headers["content-type"] == "application/json"
        assert ("access-control-allow-origin" in response.headers) == path.startswith("/api/v1/")
        assert ("allow" in response.headers) == (status == 405)

    def test_a_slash_at_the_end_is_ignored(self, tmp_path: Path) -> None:
        assert self.get(tmp_path, "/api/v1/number/?n=5").json() == 5


def _inner(app: object) -> FastAPI:
    """The framework's app behind the lanes in front of it."""
    while not isinstance(app, FastAPI):
        app = app._app  # type: ignore[attr-defined]  # each lane holds the next
    return app
