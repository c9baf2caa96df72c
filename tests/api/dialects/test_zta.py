"""ZTA's core as its clients see it, at the root and under its own prefix."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import msgspec
import pytest

from schemas.projects import Dialect, Scope
from schemas.rows import Row, WebFields
from storage.meta.activities import COMMAND_LINE
from storage.meta.keys import KeySpec, create_key
from storage.meta.resets import begin_reset
from tests.api.dialects.world import EMAIL, PASSWORD, World, serving
from tests.factories import event_row

MOUNTS = ["", "/compat/zta"]
NOON = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(hours=12)
CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, POST, DELETE, OPTIONS",
    "access-control-allow-headers": "Authorization, Content-Type",
}
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"


def _view(project: int, at: datetime, person: str, path: str = "/", *, is_bot: bool = False) -> Row:
    web = WebFields(
        path=path,
        referrer="https://news.example/1",
        referrer_domain="news.example",
        channel="referral",
        country="DE",
        device="mobile",
        browser="Firefox",
        os="Linux",
        is_bot=is_bot,
    )
    return msgspec.structs.replace(event_row(at, person, "pageview", project=project), web=web)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("zta"), limit_zta="0", limit_zta_track="0") as found:
        number = found.project.id
        found.append(
            [
                _view(number, NOON, "a"),
                _view(number, NOON + timedelta(seconds=30), "a", "/b"),
                _view(number, NOON, "b"),
                _view(number, NOON, "crawler", is_bot=True),
                event_row(NOON, "c", "signup", project=number, properties=b'{"label":"x"}'),
                _view(number, NOON - timedelta(days=20), "old"),
            ]
        )
        yield found


def call(world: World, path: str, method: str = "GET", token: str | None = None, **more: Any) -> httpx.Response:
    bearer = {"Authorization": f"Bearer {token or world.secret('zta')}"}
    return world.client.request(method, path, headers=bearer | more.pop("headers", {}), **more)


def ok(answer: httpx.Response, status: int = 200) -> Any:
    body = answer.json()
    assert answer.status_code == status, body
    assert CORS.items() <= dict(answer.headers).items()
    data = body.pop("data")
    assert data == body
    return body


def error_of(answer: httpx.Response) -> tuple[int, str]:
    assert CORS.items() <= dict(answer.headers).items()
    assert list(answer.json()) == ["error"]
    return answer.status_code, answer.json()["error"]


def _login(world: World, mount: str = "", email: str = EMAIL, password: str = PASSWORD) -> httpx.Response:
    return world.client.post(f"{mount}/api/auth/login", json={"email": email, "password": password})


@pytest.mark.parametrize("mount", MOUNTS)
def test_a_login_is_a_token_for_seven_days(world: World, mount: str) -> None:
    body = ok(_login(world, mount))
    assert body["user"]["email"] == EMAIL
    assert body["user"]["id"].startswith("user_")
    assert body["token"].count(".") == 2
    claims = jwt.decode(body["token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 7 * 24 * 3600
    site = {"siteId": world.project.site_id}
    assert call(world, f"{mount}/api/stats", token=body["token"], params=site).status_code == 200
    assert error_of(_login(world, mount, password="wrong password")) == (401, "Invalid email or password")
    assert error_of(_login(world, mount, email="")) == (400, "Email and password are required")


@pytest.mark.parametrize("mount", MOUNTS)
def test_who_may_ask(world: World, mount: str) -> None:
    path = f"{mount}/api/stats"
    site = {"siteId": world.project.site_id}
    assert error_of(world.client.get(path, params=site)) == (401, "Invalid or expired token")
    assert error_of(call(world, path, token="a.b.c", params=site)) == (401, "Invalid or expired token")
    assert error_of(call(world, path, token="zta_live_nobody", params=site)) == (401, "Invalid API key")
    if mount:
        assert error_of(call(world, path)) == (400, "Site ID required")
    assert error_of(call(world, path, params={"siteId": "site_nobody"})) == (404, "Site not found")
    other = world.another("eve@example.org", "Other", "other.example")
    assert error_of(call(world, path, params={"siteId": other.project.site_id})) == (403, "Access denied")
    assert error_of(call(world, f"{mount}/api/nothing")) == (404, "Not found")
    assert error_of(call(world, path, "DELETE", params=site)) == (405, "Method not allowed")
    assert error_of(call(world, path, params=site | {"period": "8d"})) == (400, "Invalid time period")
    options = world.client.options(path)
    assert (options.status_code, options.content) == (204, b"")
    assert CORS.items() <= dict(options.headers).items()
    patched = world.client.options(f"{mount}/api/sites").headers["access-control-allow-methods"]
    assert patched == "GET, POST, DELETE, OPTIONS, PATCH"


@pytest.mark.parametrize("mount", MOUNTS)
def test_statistics(world: World, mount: str) -> None:
    body = ok(call(world, f"{mount}/api/stats", params={"siteId": world.project.site_id}))
    assert body["summary"] == {
        "pageviews": 3,
        "uniqueVisitors": 3,
        "sessions": 3,
        "bounceRate": 33.3,
        "avgSessionDuration": 10,
        "avgTimeOnPage": 30,
    }
    assert len(body["timeseries"]) == 7
    assert body["timeseries"][5] == {"date": NOON.date().isoformat(), "pageviews": 3, "uniqueVisitors": 3}
    assert body["topPages"] == [
        {"path": "/", "pageviews": 2, "uniqueVisitors": 2},
        {"path": "/b", "pageviews": 1, "uniqueVisitors": 1},
    ]
    assert body["topReferrers"] == [{"domain": "news.example", "visits": 2}]
    assert body["devices"] == {"desktop": 0.0, "mobile": 100.0, "tablet": 0.0}
    assert body["browsers"] == [{"name": "Firefox", "percentage": 100.0}]
    assert body["countries"] == [{"code": "DE", "name": "Germany", "visits": 2}]
    assert body["trafficSources"]["referral"] == 100.0
    assert list(body["trafficSources"]) == ["direct", "organic", "referral", "social", "paid"]
    month = ok(call(world, f"{mount}/api/stats", params={"siteId": world.project.site_id, "period": "30d"}))
    assert (month["summary"]["pageviews"], len(month["timeseries"])) == (4, 30)
    day = {"startDate": NOON.date().isoformat(), "endDate": NOON.date().isoformat()}
    one = ok(call(world, f"{mount}/api/stats", params={"siteId": world.project.site_id} | day))
    assert (one["summary"]["pageviews"], len(one["timeseries"])) == (3, 1)


def _track(world: World, body: Any, mount: str = "", **headers: str) -> httpx.Response:
    return world.client.post(f"{mount}/api/track", json=body, headers={"User-Agent": BROWSER} | headers)


@pytest.mark.parametrize("mount", MOUNTS)
def test_pages_send_what_they_see(world: World, mount: str) -> None:
    site: dict[str, Any] = {"siteId": world.project.site_id, "sessionId": f"s{mount}"}
    views: list[dict[str, Any]] = [
        {"type": "pageview", "path": "/p?x=1", "referrer": "https://a.example/", "utm": {"source": "mail"}},
        {"type": "event", "action": "buy", "category": "shop", "label": "red", "value": 7},
        {"type": "engagement", "timeOnPage": 40, "isBounce": False},
        {"type": "heartbeat"},
        {"type": "event", "category": "heatmap", "action": "click", "data": {"x": 1, "y": 2}},
    ]
    for view in views:
        assert ok(_track(world, site | view, mount)) == {"success": True}
    rows = world.flow()
    assert [row.event for row in rows] == ["pageview", "buy", "$engagement", "$heartbeat", "$heatmap"]
    assert len({row.distinct_id for row in rows}) == 1
    assert (rows[0].web.path, rows[0].web.utm_source, rows[0].web.browser) == ("/p", "mail", "Firefox")
    assert msgspec.json.decode(rows[1].properties) == {"category": "shop", "label": "red", "value": 7}
    assert msgspec.json.decode(rows[4].properties) == {"category": "heatmap", "action": "click", "x": 1, "y": 2}
    batch = {"siteId": world.project.site_id, "batch": True, "events": views[:2]}
    assert ok(_track(world, batch, mount)) == {"success": True, "count": 2}
    assert len(world.flow()) == 2


def test_crawlers_are_answered_and_not_counted_and_scripts_count(world: World) -> None:
    other = world.another(project="Agents", domain="agents.example").project
    view = {"type": "pageview", "siteId": other.site_id}
    for agent in ("Googlebot/2.1 (+http://www.google.com/bot.html)", "python-requests/2.32"):
        assert ok(_track(world, view, **{"User-Agent": agent})) == {"success": True}
    assert [row.web.is_bot for row in world.flow()] == [True, False]
    stats = ok(call(world, "/api/stats", params={"siteId": other.site_id}))
    assert stats["summary"]["pageviews"] == 1


@pytest.mark.parametrize("mount", MOUNTS)
def test_what_is_not_taken(world: World, mount: str) -> None:
    view = {"type": "pageview", "siteId": world.project.site_id}
    assert error_of(_track(world, {"type": "pageview"}, mount)) == (400, "Site ID required")
    assert error_of(_track(world, view | {"siteId": "site_nobody"}, mount)) == (404, "Invalid site ID")
    for kind in ("click", "", None, 7):
        assert error_of(_track(world, view | {"type": kind}, mount)) == (400, "Invalid event type")
    for field, value in (
        ("path", 5),
        ("referrer", ["x"]),
        ("sessionId", 7),
        ("utm", 5),
        ("utm", "mail"),
        ("utm", {"source": 5}),
        ("data", [1]),
    ):
        assert error_of(_track(world, view | {field: value}, mount)) == (400, f"Invalid {field}"), value
    nothing = dict.fromkeys(("path", "referrer", "sessionId", "utm", "data"))
    assert ok(_track(world, view | nothing | {"utm": {"source": None}}, mount)) == {"success": True}
    assert [row.web.path for row in world.flow()] == ["/"]
    named = view | {"type": "event", "action": "a" * 257}
    assert error_of(_track(world, named, mount)) == (400, "Invalid field: action")
    foreign = _track(world, view, mount, Origin="https://evil.example")
    assert error_of(foreign) == (403, "Origin not allowed")
    for origin in ("https://shop.example", "https://www.shop.example"):
        assert _track(world, view, mount, Origin=origin).status_code == 200
    assert error_of(world.client.post(f"{mount}/api/track", content=b"{"))[0] == 400
    many = {"siteId": world.project.site_id, "batch": True, "events": [view] * 501}
    assert _track(world, many, mount).status_code == 413
    world.flow()


@pytest.mark.parametrize("mount", MOUNTS)
def test_realtime(world: World, mount: str) -> None:
    answer = call(world, f"{mount}/api/realtime", params={"siteId": world.project.site_id})
    body = ok(answer)
    assert answer.headers["cache-control"] == "no-cache"
    assert len(body["visitorsPerMinute"]) == 5
    assert all(re.fullmatch(r"\d\d:\d\d", minute["minute"]) for minute in body["visitorsPerMinute"])
    assert body["activeVisitors"] == 0
    fields = [
        "activeVisitors",
        "pageviewsLast5Min",
        "pageBreakdown",
        "recentPageviews",
        "visitorsPerMinute",
        "timestamp",
    ]
    assert list(body) == fields


def _export(world: World, mount: str, **params: str) -> httpx.Response:
    return call(world, f"{mount}/api/export", params={"siteId": world.project.site_id} | params)


@pytest.mark.parametrize("mount", MOUNTS)
def test_exports(world: World, mount: str) -> None:
    body = _export(world, mount).json()
    assert (body["site_id"], body["type"], body["count"]) == (world.project.site_id, "summary", 30)
    assert len(body["data"]) == 30
    assert body["data"][1] | {"pageviews": 3} == {
        "date": NOON.date().isoformat(),
        "pageviews": 3,
        "unique_visitors": 3,
        "sessions": 3,
        "bounces": 1,
        "bounce_rate": 33.3,
        "avg_time_on_page": 30,
    }
    sheet = _export(world, mount, format="csv")
    assert re.search(r'filename="zta-summary-\d{4}-\d\d-\d\d\.csv"', sheet.headers["content-disposition"])
    rows = list(csv.reader(io.StringIO(sheet.text)))
    assert rows[0] == ["Date", "Pageviews", "Unique Visitors", "Sessions", "Bounces", "Bounce Rate", "Avg Time on Page"]
    assert rows[2] == [NOON.date().isoformat(), "3", "3", "3", "1", "33.3%", "30s"]
    views = list(csv.reader(io.StringIO(_export(world, mount, format="csv", type="pageviews", period="7d").text)))
    assert views[0][:3] == ["Timestamp", "Page", "Referrer"]
    assert ["/b", "https://news.example/1"] in [row[1:3] for row in views]
    events = _export(world, mount, type="events").json()["data"]
    assert events[-1]["event_name"] == "signup"
    assert (events[-1]["event_type"], events[-1]["event_data"]) == ("event", '{"label":"x"}')
    assert error_of(_export(world, mount, format="xml"))[0] == 400
    assert error_of(_export(world, mount, period="24h")) == (400, "Invalid time period")


@pytest.mark.parametrize("mount", MOUNTS)
def test_sites_come_change_and_go(world: World, mount: str) -> None:
    path = f"{mount}/api/sites"
    domain = f"new{len(mount)}.example"
    site = ok(call(world, path, "POST", json={"domain": domain}), 201)["site"]
    assert site["trackingCode"].count(site["id"]) == 1
    assert (site["name"], site["timezone"], site["public"]) == (domain, "UTC", False)
    assert re.fullmatch(r"site_[0-9A-Za-z]{12}", site["id"])
    again = call(world, path, "POST", json={"domain": domain, "name": "x"})
    assert error_of(again) == (409, "A site with this domain already exists")
    for body, text in (
        ({}, "Domain is required"),
        ({"domain": "https://x"}, "Invalid domain format"),
        ({"domain": "x.example/a"}, "Invalid domain format"),
        ({"domain": "z.example", "timezone": "Mars/Base"}, "Invalid timezone"),
    ):
        assert error_of(call(world, path, "POST", json=body)) == (400, text)
    change = {
        "id": site["id"],
        "name": f"New{mount}",
        "timezone": "Europe/Berlin",
        "settings": {"excludePaths": ["/x*"]},
    }
    changed = ok(call(world, path, "PATCH", json=change))["site"]
    assert (changed["name"], changed["timezone"]) == (f"New{mount}", "Europe/Berlin")
    ok(_track(world, {"type": "pageview", "siteId": site["id"], "path": "/xyz"}))
    assert world.flow() == []
    for days in (0, -1, 10**6):
        kept = {"id": site["id"], "settings": {"dataRetention": days}}
        assert error_of(call(world, path, "PATCH", json=kept)) == (400, "Invalid settings")
    listed = {one["id"]: one for one in ok(call(world, path))["sites"]}
    assert listed[site["id"]]["stats"] == {"pageviews": 0, "visitors": 0, "lastPageview": None}
    assert listed[world.project.site_id]["stats"]["pageviews"] >= 4
    one = ok(call(world, f"{path}/{site['id']}"))["site"]
    assert one["owner"]["email"] == EMAIL
    assert (one["goals"], one["funnels"], one["alerts"]) == (0, 0, 0)
    gone = ok(call(world, f"{path}/delete", "POST", json={"siteId": site["id"]}))
    assert (gone["softDeleted"], gone["retentionDays"]) == (True, 3)
    assert gone["message"] == "Site moved to trash. You can restore it within 3 days."
    assert error_of(call(world, f"{path}/{site['id']}")) == (404, "Site not found")
    trash = ok(call(world, f"{path}/deleted"))
    assert [entry["id"] for entry in trash["sites"]] == [site["id"]]
    assert trash["sites"][0]["daysRemaining"] == 3
    back = ok(call(world, f"{path}/restore", "POST", json={"siteId": site["id"]}))
    assert (back["restored"], back["site"]["id"]) == (True, site["id"])
    wrong = call(world, f"{path}/restore", "POST", json={"siteId": site["id"]})
    assert error_of(wrong) == (404, "Site not found or not deleted")
    assert ok(call(world, path, "DELETE", params={"id": site["id"]})) == {
        "success": True,
        "message": "Site deleted successfully",
    }
    assert error_of(call(world, path, "DELETE", params={"id": site["id"]})) == (404, "Site not found")


@pytest.mark.parametrize("mount", MOUNTS)
def test_keys_are_shown_once_and_bound(world: World, mount: str) -> None:
    path = f"{mount}/api/api-keys"
    wanted = {"name": "Reader", "scope": "read", "expiresIn": 30, "siteId": world.project.site_id}
    made = ok(call(world, path, "POST", json=wanted), 201)["apiKey"]
    assert made["key"].startswith("zta_live_")
    expires = datetime.fromisoformat(made["expiresAt"]) - datetime.fromisoformat(made["createdAt"])
    assert expires == timedelta(days=30)
    listed = {one["id"]: one for one in ok(call(world, path))["apiKeys"]}
    assert listed[made["id"]]["key"].endswith("...")
    assert made["key"] not in call(world, path).text
    site = {"siteId": world.project.site_id}
    assert call(world, f"{mount}/api/stats", token=made["key"], params=site).status_code == 200
    readonly = call(world, f"{mount}/api/sites", "POST", made["key"], json={"domain": "k.example"})
    assert error_of(readonly) == (403, "Insufficient permissions. This key has read-only access.")
    other = world.another(project="Elsewhere", domain="elsewhere.example").project.site_id
    elsewhere = call(world, f"{mount}/api/stats", token=made["key"], params={"siteId": other})
    assert error_of(elsewhere) == (403, f"This API key cannot access {other}")
    gone = ok(call(world, path, "DELETE", params={"id": made["id"]}))
    assert gone["message"] == "API key revoked successfully"
    assert error_of(call(world, f"{mount}/api/stats", token=made["key"], params=site)) == (401, "Invalid API key")
    assert error_of(call(world, path, "DELETE", params={"id": made["id"]})) == (404, "API key not found")
    for body, text in (
        ({"scope": "read"}, "API key name is required"),
        ({"name": "x", "scope": "root"}, "Invalid scope. Must be: read, write, or admin"),
    ):
        assert error_of(call(world, path, "POST", json=body)) == (400, text)


def test_a_key_past_its_time_is_told_apart(world: World) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=2)
    spec = KeySpec(world.first.account.id, Dialect.ZTA, Scope.READ, name="old", expires_at=long_ago + timedelta(days=1))
    old = create_key(world.services.database, spec, long_ago).secret
    long = {"name": "n" * 101, "scope": "read"}
    assert error_of(call(world, "/api/api-keys", "POST", json=long))[0] == 400
    site = {"siteId": world.project.site_id}
    assert error_of(call(world, "/api/stats", token=old, params=site)) == (401, "API key has expired")


@pytest.mark.parametrize("mount", MOUNTS)
def test_a_new_password(world: World, mount: str) -> None:
    person = f"reset{len(mount)}@example.org"
    world.another(person, "Reset", "reset.example")
    forgot = f"{mount}/api/auth/forgot"
    sent = ok(world.client.post(forgot, json={"email": person}))
    assert sent == ok(world.client.post(forgot, json={"email": "nobody@example.org"}))
    assert sent["message"] == "If an account with that email exists, we sent a password reset link."
    reset = begin_reset(world.services.database, person, COMMAND_LINE, datetime.now(UTC))
    assert reset is not None
    verify = f"{mount}/api/auth/verify-reset-token"
    assert ok(world.client.get(verify, params={"token": reset.secret}))["valid"] is True
    path = f"{mount}/api/auth/reset"
    for body, text in (
        ({"token": reset.secret}, "Token and password are required"),
        ({"token": reset.secret, "password": "seven77"}, "Password must be at least 8 characters"),
        ({"token": "x", "password": "long enough"}, "Invalid or expired reset link"),
    ):
        assert error_of(world.client.post(path, json=body)) == (400, text)
    new = {"token": reset.secret, "password": "another good one"}
    assert ok(world.client.post(path, json=new))["message"] == "Password has been reset successfully"
    assert error_of(world.client.post(path, json=new)) == (400, "Invalid or expired reset link")
    used = world.client.get(verify, params={"token": reset.secret})
    assert (used.status_code, used.json()) == (400, {"valid": False, "error": "Invalid or expired reset link"})
    assert _login(world, mount, person, "another good one").status_code == 200


def test_the_log_is_away(world: World) -> None:
    world.services.producer.refusal = "breaker open"  # type: ignore[misc]  # the fake's is a field
    try:
        answer = _track(world, {"type": "pageview", "siteId": world.project.site_id})
        assert error_of(answer) == (503, "Service unavailable")
        assert int(answer.headers["retry-after"]) >= 1
    finally:
        world.services.producer.refusal = None  # type: ignore[misc]


def test_a_user_asks_a_hundred_times_a_minute_by_token_and_key_together(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with serving(tmp_path_factory.mktemp("limits")) as world:
        token = _login(world).json()["token"]
        answers = [call(world, "/api/api-keys", token=(token, None)[at % 2]) for at in range(101)]
        assert {answer.status_code for answer in answers[:100]} == {200}
        assert error_of(answers[100]) == (429, "Rate limit exceeded. Try again in 60 seconds.")
        assert 1 <= int(answers[100].headers["retry-after"]) <= 60
        assert answers[0].headers["x-ratelimit-limit"] == "100"
