"""What holds across all surfaces: one event counts everywhere, and credentials open their own surface alone."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from schemas.windows import TimeRange, day_start
from tests import oracle_figures as oracle
from tests.api.dialects.world import World, serving

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
CRAWLER = "Googlebot/2.1 (+http://www.google.com/bot.html)"
TODAY = datetime.now(UTC).date()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("across"), rate_limits="off") as found:
        yield found


def _native(world: World, agent: str, person: str) -> httpx.Response:
    body = {"event": "pageview", "userId": person, "context": {"url": "https://shop.example/p", "userAgent": agent}}
    return world.client.post("/api/v1/events", json=body, headers={"X-API-Key": world.secret("jcht")})


def _zta(world: World, agent: str, person: str) -> httpx.Response:
    body = {"type": "pageview", "siteId": world.project.site_id, "path": "/p", "sessionId": f"s-{person}"}
    return world.client.post("/api/track", json=body, headers={"User-Agent": agent})


def _cohorly(world: World, agent: str, person: str) -> httpx.Response:
    properties = {"distinct_id": person, "$current_url": "https://shop.example/p", "$user_agent": agent}
    body = {"event": "Page View", "properties": properties}
    return world.client.post("/track", json=body, headers={"X-Cohorly-Token": world.project.token})


def _ovyxa(world: World, agent: str, person: str) -> httpx.Response:
    body = {"site_id": world.project.site_id, "url": "https://shop.example/p", "user_agent": agent}
    bearer = {"Authorization": f"Bearer {world.secret('ovyxa')}"}
    return world.client.post("/api/v1/events/pageview", json=body | {"ip_address": "203.0.113.5"}, headers=bearer)


LANES: dict[str, Callable[[World, str, str], httpx.Response]] = {
    "native": _native,
    "zta": _zta,
    "cohorly": _cohorly,
    "ovyxa": _ovyxa,
}


def _get(world: World, dialect: str, path: str, **params: str) -> Any:
    bearer = {"Authorization": f"Bearer {world.secret(dialect)}"}
    answer = world.client.get(path, params=params, headers=bearer)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _pageviews(world: World) -> dict[str, tuple[int, int]]:
    """(pageviews, visitors) of today as each surface tells them; Cohorly tells events and people."""
    day = TODAY.isoformat()
    native = _get(world, "jcht", "/api/v1/overview", **{"from": day, "to": day})["metrics"]
    site = world.project.site_id
    zta = _get(world, "zta", "/api/stats", siteId=site, startDate=day, endDate=day)["summary"]
    website = world.project.website_id
    jetrack = _get(world, "jetrack", f"/api/v1/websites/{website}/stats/main", **{"from": day, "to": day})["data"]
    ovyxa = _get(world, "ovyxa", "/api/v1/stats/overview", site_id=site, date_from=day, date_to=day)["data"]["metrics"]
    cohorly = _get(world, "cohorly", "/compat/cohorly/api/stats", projectId=str(world.project.id))
    return {
        "native": (native["pageviews"], native["visitors"]),
        "zta": (zta["pageviews"], zta["uniqueVisitors"]),
        "jetrack": (jetrack["totalPageviews"], jetrack["uniqueVisitors"]),
        "ovyxa": (ovyxa["pageviews"], ovyxa["visitors"]),
        "cohorly": (cohorly["events_today"], cohorly["users"]),
    }


@pytest.mark.parametrize("lane", LANES)
def test_one_event_of_any_lane_counts_on_every_surface_and_a_bot_on_none(world: World, lane: str) -> None:
    before = _pageviews(world)
    assert LANES[lane](world, CRAWLER, f"crawler-{lane}").status_code in (200, 201)
    assert len(world.flow()) == 1
    assert _pageviews(world) == before
    assert LANES[lane](world, BROWSER, f"person-{lane}").status_code in (200, 201)
    [row] = world.flow()
    assert row.is_pageview
    assert row.web.path == "/p"
    assert _pageviews(world) == {name: (views + 1, people + 1) for name, (views, people) in before.items()}


def test_every_surface_tells_the_figures_of_the_oracle(world: World) -> None:
    span = TimeRange(day_start(TODAY, ZoneInfo("UTC")), day_start(TODAY + timedelta(days=1), ZoneInfo("UTC")))
    expected = oracle.figures(world.rows, world.project.id, span)
    assert expected.pageviews >= len(LANES)
    assert set(_pageviews(world).values()) == {(expected.pageviews, expected.visitors)}
    site, day = world.project.site_id, TODAY.isoformat()
    zta = _get(world, "zta", "/api/stats", siteId=site, startDate=day, endDate=day)["summary"]
    assert (zta["sessions"], zta["bounceRate"]) == (expected.sessions, expected.bounce_rate)
    ovyxa = _get(world, "ovyxa", "/api/v1/stats/overview", site_id=site, date_from=day, date_to=day)["data"]["metrics"]
    assert (ovyxa["visits"], ovyxa["bounce_rate"]) == (expected.sessions, expected.bounce_rate)
    pages = _get(world, "ovyxa", "/api/v1/stats/pages", site_id=site, date_from=day, date_to=day)["data"]["results"]
    native = _get(world, "jcht", "/api/v1/breakdowns", dimension="path", **{"from": day, "to": day})["data"]
    assert [(row["page"], row["pageviews"]) for row in pages] == [(row["value"], row["pageviews"]) for row in native]


READS = {
    "jcht": "/api/v1/metrics?metric=events_count",
    "jetrack": "/api/v1/websites",
    "zta": "/api/sites",
    "cohorly": "/api/projects",
    "ovyxa": "/api/v1/stats/realtime?site_id=SITE",
}


@pytest.mark.parametrize("surface", READS)
@pytest.mark.parametrize("key", READS)
def test_a_key_opens_its_own_surface_alone(world: World, surface: str, key: str) -> None:
    path = READS[surface].replace("SITE", world.project.site_id)
    answer = world.client.get(path, headers={"Authorization": f"Bearer {world.secret(key)}"})
    assert answer.status_code == (200 if surface == key else 401)


def test_the_path_of_two_products(world: World) -> None:
    site = {"siteId": world.project.site_id}
    cohorly = {"Authorization": f"Bearer {world.secret('cohorly')}"}
    zta = {"Authorization": f"Bearer {world.secret('zta')}"}
    assert "events_today" in world.client.get("/api/stats", headers=cohorly).json()
    assert "summary" in world.client.get("/api/stats", headers=zta, params=site).json()
    assert world.client.get("/api/stats", headers=zta).json() == {"error": "Site ID required"}
    assert world.client.get("/api/stats", headers=cohorly, params=site).status_code == 401
    for answer in (
        world.client.get("/api/stats"),
        world.client.get("/api/stats", headers=cohorly),
        world.client.post("/api/stats", headers=cohorly),
    ):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-allow-methods"] == "GET, POST, DELETE, OPTIONS"
        assert answer.headers["access-control-allow-headers"] == "Authorization, Content-Type"
    assert world.client.post("/api/stats", headers=cohorly).status_code == 405


def test_nothing_that_is_kept_shows_an_address_or_a_secret(world: World) -> None:
    kept = b"".join(row.properties + (row.context or b"") + row.distinct_id.encode() for row in world.rows)
    assert b"203.0.113.5" not in kept
    assert b"127.0.0.1" not in kept
    for secret in world.first.secrets.values():
        assert secret.encode() not in kept


def test_a_last_day_is_whole(world: World) -> None:
    tomorrow = (TODAY + timedelta(days=1)).isoformat()
    website = world.project.website_id
    params = {"from": TODAY.isoformat(), "to": tomorrow}
    series = _get(world, "jetrack", f"/api/v1/websites/{website}/stats/timeseries", **params)["data"]
    assert [point["date"] for point in series] == [TODAY.isoformat(), tomorrow]


def test_every_surface_says_how_its_numbers_were_made(world: World) -> None:
    site, day = world.project.site_id, TODAY.isoformat()
    for dialect, path in (
        ("jcht", "/api/v1/overview"),
        ("jetrack", f"/api/v1/websites/{world.project.website_id}/stats/main"),
        ("zta", f"/api/stats?siteId={site}"),
        ("cohorly", "/compat/cohorly/api/stats"),
        ("ovyxa", f"/api/v1/stats/overview?site_id={site}&date_from={day}&date_to={day}&timezone=Europe/Berlin"),
    ):
        answer = world.client.get(path, headers={"Authorization": f"Bearer {world.secret(dialect)}"})
        assert answer.headers["streamgauge-accuracy"] == "exact" or "sketch" in answer.headers["streamgauge-accuracy"]
        assert answer.headers["streamgauge-timezone"] == ("Europe/Berlin" if dialect == "ovyxa" else "UTC")
        assert "streamgauge-watermark" in answer.headers
