"""Every route that reads answers below `/compat` what it answers at the root, byte for byte but for instants."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from starlette.routing import Route

from api.dialects.catalogue import dialects
from tests.api.dialects.test_across import BROWSER, LANES
from tests.api.dialects.world import World, serving

_DAY = datetime.now(UTC).date()
_INSTANT = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]+Z|\b1[0-9]{9}([0-9]{3})?\b|(?<=uptime_seconds\":)[0-9.]+")
_JCHT = (
    *("/overview", "/breakdowns?dimension=path", "/metrics", "/events", "/users", "/sessions", "/events/names"),
    *("/sources", "/dashboards", "/goals", "/keys", "/projects", "/usage", "/nowhere", "/metrics?metric=nothing"),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("mounts"), rate_limits="off") as found:
        for number, lane in enumerate(LANES.values()):
            assert lane(found, BROWSER, f"u{number}").status_code < 300
        found.flow()
        yield found


def _params(world: World, dialect: str) -> dict[str, str]:
    """All that any of the routes asks for, each under its own name."""
    first, last = (_DAY - timedelta(days=2)).isoformat(), _DAY.isoformat()
    return {
        "siteId" if dialect == "zta" else "site_id": world.project.site_id,
        "date_from": first,
        "date_to": last,
        "from": first,
        "to": last,
        "event": "pageview",
        "path": "/p",
        "type": "click",
        "token": "none",
    }


def _alike(world: World, dialect: str, path: str, headers: dict[str, str], method: str = "GET") -> httpx.Response:
    answers = [world.client.request(method, f"{mount}{path}", headers=headers) for mount in ("", f"/compat/{dialect}")]
    root, compat = ((answer.status_code, _INSTANT.sub(b"T", answer.content)) for answer in answers)
    assert root == compat, path
    told = [{name: value for name, value in answer.headers.items() if _is_fixed(name)} for answer in answers]
    # At the root this path is that of two surfaces, and its headers suit both.
    assert told[0] == told[1] or path.startswith("/api/stats?"), path
    return answers[0]


def _is_fixed(header: str) -> bool:
    return header in ("content-type", "vary", "allow") or header.startswith("access-control-")


@pytest.mark.parametrize("dialect", ["jetrack", "zta", "cohorly", "ovyxa"])
def test_routes_that_read(world: World, dialect: str) -> None:
    routes = [route for route in dialects(world.services)[dialect].surface.routes if isinstance(route, Route)]
    wanted = [route.path for route in routes if "GET" in (route.methods or ())]
    key = {"Authorization": f"Bearer {world.secret(dialect)}"}
    thing = world.project.website_id if dialect == "jetrack" else world.project.site_id
    query = str(httpx.QueryParams(_params(world, dialect)))
    fine = 0
    for path in wanted:
        filled = path.replace("{id:path}", "u0").replace("{id}", thing).replace("{list}", "pages")
        answer = _alike(world, dialect, f"{filled}?{query}", key)
        assert answer.status_code < 500, path
        fine += answer.status_code == 200
        _alike(world, dialect, f"{filled}?{query}", key | {"Authorization": "Bearer nobody"})
        if filled != "/api/stats":
            _alike(world, dialect, filled, key, "PURGE")
    # What needs a login, or a thing that is not there, is refused.
    assert fine >= len(wanted) * 0.5, (fine, len(wanted))


@pytest.mark.parametrize("path", _JCHT)
def test_the_native_surface(world: World, path: str) -> None:
    answer = _alike(world, "jcht", f"/api/v1{path}", {"X-API-Key": world.secret("jcht")})
    assert answer.status_code < 500
    _alike(world, "jcht", f"/api/v1{path}", {})
