"""Ovyxa's surface as its clients see it, at the root and under its own prefix."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest

from schemas.kept import Segment
from schemas.rows import Row, WebFields
from storage.meta.accounts import set_terms
from storage.meta.activities import Actor
from tests.api.dialects.world import EMAIL, PASSWORD, World, serving
from tests.factories import event_row

MOUNTS = ["", "/compat/ovyxa"]
DAYS = {"date_from": "2026-02-01", "date_to": "2026-02-03"}
BREAKDOWNS = {
    "pages": "page",
    "entry-pages": "page",
    "exit-pages": "page",
    "sources": "source",
    "campaigns": "campaign",
    "utm": "campaign",
    "countries": "country",
    "locations": "country",
    "devices": "device",
    "browsers": "browser",
    "os": "os",
    "events": "name",
}


def _view(project: int, at: str, person: str, path: str = "/", *, is_bot: bool = False) -> Row:
    web = WebFields(
        path=path,
        referrer_domain="google.com",
        channel="organic",
        utm_campaign="spring",
        country="DE",
        device="mobile",
        browser="Firefox",
        os="Linux",
        is_bot=is_bot,
    )
    return msgspec.structs.replace(event_row(at, person, "pageview", project=project), web=web)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("ovyxa")) as found:
        number = found.project.id
        found.append(
            [
                _view(number, "2026-01-30T12:00:00", "before"),
                _view(number, "2026-02-01T00:30:00", "a"),
                _view(number, "2026-02-01T00:31:00", "a", "/b"),
                _view(number, "2026-02-03T23:30:00", "b"),
                _view(number, "2026-02-02T12:00:00", "crawler", is_bot=True),
                event_row("2026-02-02T12:00:00", "c", "signup", project=number),
            ]
        )
        yield found


def _get(world: World, path: str, mount: str = "", token: str | None = None, **params: str) -> httpx.Response:
    bearer = {"Authorization": f"Bearer {token or world.secret('ovyxa')}"}
    return world.client.get(f"{mount}/api/v1/stats/{path}", params=params, headers=bearer)


def _stats(world: World, path: str, **params: str) -> Any:
    answer = _get(world, path, **{"site_id": world.project.site_id, **DAYS, **params})
    assert answer.status_code == 200, answer.text
    return answer.json()


def _error(answer: httpx.Response) -> tuple[int, str, str]:
    assert answer.headers["access-control-allow-origin"] == "*"
    [(name, error)] = answer.json().items()
    assert name == "error"
    return answer.status_code, error["code"], error["message"]


@pytest.mark.parametrize("mount", MOUNTS)
def test_required_parameters_are_missed_in_their_order(world: World, mount: str) -> None:
    answer = _get(world, "overview", mount)
    assert answer.content == b'{"error":{"code":"invalid_request","message":"Missing required parameter: site_id"}}'
    site = {"site_id": world.project.site_id}
    for params, name in (
        (DAYS, "site_id"),
        (site, "date_from"),
        (site | {"date_to": "x"}, "date_from"),
        (site | {"date_from": "x"}, "date_to"),
    ):
        message = f"Missing required parameter: {name}"
        assert _error(_get(world, "pages", mount, **params)) == (400, "invalid_request", message)


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"timezone": "Mars/Base"}, "timezone"),
        ({"timezone": "localtime"}, "timezone"),
        ({"interval": "year"}, "interval"),
        ({"compare": "yes"}, "compare"),
        ({"date_from": "2026-2-1"}, "date_from"),
        ({"date_to": "20260203"}, "date_to"),
        ({"date_from": "2026-02-04"}, "date_from"),
        ({"segment": "seg_none"}, "segment"),
    ],
)
def test_bad_parameters_are_named(world: World, params: dict[str, str], name: str) -> None:
    answer = _get(world, "overview", **{"site_id": world.project.site_id, **DAYS, **params})
    assert _error(answer) == (400, "invalid_request", f"Invalid parameter: {name}")


def test_the_overview(world: World) -> None:
    body = _stats(world, "overview")
    assert body == {
        "data": {
            "metrics": {
                "visitors": 3,
                "pageviews": 3,
                "visits": 3,
                "bounce_rate": 33.3,
                "visit_duration": 20,
                "views_per_visit": 1.0,
            },
            "timeseries": [
                {"date": "2026-02-01", "visitors": 1, "pageviews": 2, "visits": 1},
                {"date": "2026-02-02", "visitors": 1, "pageviews": 0, "visits": 1},
                {"date": "2026-02-03", "visitors": 1, "pageviews": 1, "visits": 1},
            ],
        },
        "meta": {"sampled": False, "filtered_bot_traffic": 1},
    }
    assert _stats(world, "overview", site_id="shop.example") == body
    assert _stats(world, "timeseries") == body


def test_days_move_with_the_zone(world: World) -> None:
    series = _stats(world, "overview", timezone="America/New_York")["data"]["timeseries"]
    assert [point["pageviews"] for point in series] == [0, 0, 1]
    assert len(_stats(world, "timeseries", interval="hour")["data"]["timeseries"]) == 72


def test_a_comparison_only_where_asked_for(world: World) -> None:
    comparison = _stats(world, "overview", compare="true")["data"]["comparison"]
    assert (comparison["date_from"], comparison["date_to"]) == ("2026-01-29", "2026-01-31")
    assert (comparison["metrics"]["visitors"], comparison["change"]["visitors"]) == (1, 200.0)
    assert comparison["change"]["visit_duration"] is None
    for without in ({}, {"compare": "false"}):
        assert "comparison" not in _stats(world, "overview", **without)["data"]


@pytest.mark.parametrize(("path", "name"), BREAKDOWNS.items())
def test_every_breakdown_has_the_one_structure(world: World, path: str, name: str) -> None:
    body = _stats(world, path)
    assert body["data"]["metrics"]["visitors"] == 3
    assert len(body["data"]["timeseries"]) == 3
    assert body["meta"]["filtered_bot_traffic"] == 1
    fields = ["name", "events", "visitors"]
    if name != "name":
        fields = [name, "visitors", "pageviews", "visits", "bounce_rate", "visit_duration"]
    assert [list(row) for row in body["data"]["results"]] == [fields] * len(body["data"]["results"])
    assert body["data"]["results"]


def test_results_are_paged_and_a_search_engine_is_search(world: World) -> None:
    pages = [_stats(world, "pages", limit="1", page=page)["data"]["results"] for page in ("1", "2", "3")]
    assert [[row["page"] for row in rows] for rows in pages] == [["/"], ["/b"], []]
    assert [row["source"] for row in _stats(world, "sources")["data"]["results"]] == ["search"]


def test_realtime_wants_only_the_site(world: World) -> None:
    answer = _get(world, "realtime", site_id=world.project.site_id)
    data = answer.json()["data"]
    assert data["metrics"] == {"visitors": 0, "pageviews": 0}
    assert len(data["timeseries"]) == 5
    assert all(re.fullmatch(r"\d\d:\d\d", minute["minute"]) for minute in data["timeseries"])
    assert _error(_get(world, "realtime"))[2] == "Missing required parameter: site_id"


def _login(world: World, mount: str = "", **body: Any) -> httpx.Response:
    return world.client.post(f"{mount}/api/v1/auth/login", json=body)


@pytest.mark.parametrize("mount", MOUNTS)
def test_a_login_opens_statistics_for_seven_days(world: World, mount: str) -> None:
    answer = _login(world, mount, email=EMAIL, password=PASSWORD)
    body = answer.json()
    assert answer.status_code == 200
    assert body["user"]["email"] == EMAIL
    assert body["user"]["id"].startswith("user_")
    left = datetime.fromisoformat(body["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
    assert body["token"].count(".") == 2
    assert _get(world, "overview", mount, body["token"], site_id=world.project.site_id, **DAYS).status_code == 200
    assert _error(_login(world, mount, email=EMAIL, password="wrong password"))[:2] == (401, "unauthorized")
    assert _error(_login(world, mount, email=EMAIL))[2] == "Missing required field: password"


@pytest.mark.parametrize("mount", MOUNTS)
def test_others_are_kept_out(world: World, mount: str) -> None:
    other = world.another("eve@example.org", "Other", "other.example")
    question = {"site_id": other.project.site_id, **DAYS}
    assert _error(_get(world, "overview", mount, **question))[:2] == (403, "forbidden")
    assert _error(_get(world, "overview", mount, **question | {"site_id": "site_nobody"}))[:2] == (404, "not_found")
    assert _error(_get(world, "overview", mount, world.secret("jcht"), **question))[:2] == (401, "unauthorized")
    nobody = world.client.get(f"{mount}/api/v1/stats/overview")
    assert _error(nobody)[:2] == (401, "unauthorized")
    assert _error(_get(world, "nothing", mount)) == (404, "not_found", "Not found")
    assert _error(world.client.post(f"{mount}/api/v1/stats/overview"))[:2] == (405, "method_not_allowed")


def test_browsers_of_every_origin_are_let_in(world: World) -> None:
    answer = world.client.options("/api/v1/stats/overview", headers={"Origin": "https://any.example"})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "Authorization" in answer.headers["access-control-allow-headers"]


def _send(world: World, path: str, mount: str = "", body: Any = None, **headers: str) -> httpx.Response:
    bearer = {"Authorization": f"Bearer {world.secret('ovyxa')}"}
    return world.client.post(f"{mount}/api/v1/events{path}", json=body, headers=bearer | headers)


@pytest.mark.parametrize("mount", MOUNTS)
def test_events_of_servers(world: World, mount: str) -> None:
    site = {"site_id": world.project.site_id, "ip_address": "203.0.113.9", "user_agent": "Mozilla/5.0 Firefox/130.0"}
    view = _send(world, "/pageview", mount, site | {"url": "https://shop.example/p?utm_campaign=x"})
    assert view.status_code == 201
    assert view.json()["success"] is True
    assert re.fullmatch(r"evt_[0-9A-Za-z]{12}", view.json()["event_id"])
    custom = _send(world, "/custom", mount, site | {"name": "signup", "properties": {"plan": "pro"}})
    other = _send(world, "/event", mount, site | {"event_name": "signup", "props": {"plan": "free"}})
    assert (custom.status_code, other.status_code) == (201, 201)
    rows = world.flow()
    by_id = {row.event_id: row for row in rows}
    seen = by_id[view.json()["event_id"]]
    assert (seen.event, seen.is_pageview, seen.web.path, seen.web.utm_campaign) == ("pageview", True, "/p", "x")
    assert len({row.distinct_id for row in rows}) == 1
    assert b"203.0.113.9" not in b"".join(row.properties + (row.context or b"") for row in rows)
    assert by_id[custom.json()["event_id"]].properties == b'{"plan":"pro"}'
    again = [_send(world, "/custom", mount, site | {"name": "x"}, **{"Idempotency-Key": f"k{mount}"}) for _ in range(2)]
    assert {answer.json()["event_id"] for answer in again} == {f"k{mount}"}
    assert len(world.flow()) == 1


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/pageview", {"url": "https://x"}, "Missing required field: site_id"),
        ("/pageview", {"site_id": "SITE"}, "Missing required field: url"),
        ("/custom", {"site_id": "SITE", "name": " "}, "Missing required field: name"),
        ("/custom", {"site_id": "SITE"}, "Missing required field: name"),
        ("/custom", {"site_id": "SITE", "name": 7}, "Invalid field: name"),
        ("/custom", {"site_id": "SITE", "name": "a", "properties": []}, "Invalid field: properties"),
        ("/custom", {"site_id": "SITE", "name": "n" * 257}, "Invalid field: name"),
        ("/custom", [], "The body must be a JSON object"),
    ],
)
def test_bad_events_are_told(world: World, path: str, body: Any, message: str) -> None:
    if isinstance(body, dict) and "site_id" in body:
        body = body | {"site_id": world.project.site_id}
    assert _error(_send(world, path, body=body)) == (400, "invalid_request", message)


def test_malformed_json_and_the_alias_of_the_prefix(world: World) -> None:
    bearer = {"Authorization": f"Bearer {world.secret('ovyxa')}"}
    for mount in MOUNTS:
        answer = world.client.post(f"{mount}/api/v1/events/custom", content=b"{", headers=bearer)
        assert _error(answer)[:2] == (400, "invalid_request")
    body = {"site_id": world.project.site_id, "name": "signup"}
    assert _send(world, "", "/compat/ovyxa", body).status_code == 201


def test_the_log_is_away(world: World) -> None:
    world.services.producer.refusal = "breaker open"  # type: ignore[misc]  # the fake's is a field
    try:
        answer = _send(world, "/custom", body={"site_id": world.project.site_id, "name": "signup"})
        assert _error(answer)[:2] == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
    finally:
        world.services.producer.refusal = None  # type: ignore[misc]


@pytest.mark.parametrize(("plan", "most"), [("free", 1000), ("pro", 5000)])
def test_the_tier_of_the_account_limits_it(world: World, plan: str, most: int) -> None:
    someone = world.another(f"{plan}@example.org", plan, f"{plan}.example")
    set_terms(world.services.database, someone.account.id, plan, None)
    params = {"site_id": someone.project.site_id}
    headers = {"Authorization": f"Bearer {someone.secrets['ovyxa']}"}

    def ask() -> httpx.Response:
        return world.client.get("/api/v1/stats/realtime", params=params, headers=headers)

    assert ask().headers["x-ratelimit-limit"] == str(most)
    for _ in range(most - 1):
        world.services.limiter.take(f"ovyxa_{plan}", f"account {someone.account.id}")  # type: ignore[arg-type]
    answer = ask()
    assert _error(answer)[:2] == (429, "rate_limited")
    assert int(answer.headers["retry-after"]) >= 1


def test_a_segment_filters(world: World) -> None:
    kept = world.services.things.create(
        world.project.id,
        Segment(name="Page b", filters=[{"key": "path", "op": "eq", "value": "/b"}]),
        Actor(world.first.account.id),
        datetime.now(UTC),
    )
    assert _stats(world, "overview", segment=kept.id)["data"]["metrics"]["pageviews"] == 1
    [page] = _stats(world, "pages", segment=kept.id)["data"]["results"]
    assert page["page"] == "/b"


def test_realtime_tells_the_bots_that_it_left_out(world: World) -> None:
    site = world.another(project="Crawled", domain="crawled.example").project
    at = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    world.append([_view(site.id, at, "crawler", is_bot=True), _view(site.id, at, "person")])
    assert _get(world, "realtime", site_id=site.site_id).json()["meta"]["filtered_bot_traffic"] == 1
