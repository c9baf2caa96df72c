"""ZTA's people and further reads: teams, users, the log of changes, the stats API, and shared links."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest

from schemas.kept import Share
from schemas.rows import Row, WebFields
from storage.meta.activities import Actor
from tests.api.dialects.test_zta import MOUNTS, NOON, call, error_of, ok
from tests.api.dialects.world import EMAIL, PASSWORD, World, serving
from tests.factories import event_row


def _view(project: int, minutes: int, person: str, path: str, country: str = "US") -> Row:
    row = event_row(NOON + timedelta(minutes=minutes), person, "pageview", project=project)
    web = WebFields(path=path, country=country, channel="direct", referrer_domain="(direct)", device="desktop")
    return msgspec.structs.replace(row, web=web)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("zta-people"), limit_zta="0") as found:
        number = found.project.id
        found.append(
            [
                _view(number, 0, "a", "/"),
                _view(number, 1, "a", "/blog/one"),
                _view(number, 0, "b", "/blog/two", "DE"),
                _view(number, 0, "c", "/other"),
            ]
        )
        yield found


def _site(world: World) -> dict[str, str]:
    return {"siteId": world.project.site_id}


def _token(world: World, email: str, mount: str = "") -> str:
    body = {"email": email, "password": PASSWORD}
    token: str = world.client.post(f"{mount}/api/auth/login", json=body).json()["token"]
    return token


@pytest.mark.parametrize("mount", MOUNTS)
def test_a_team_from_invitation_to_removal(world: World, mount: str) -> None:
    guest, path = f"guest{len(mount)}@example.org", f"{mount}/api/teams"
    world.another(guest, "Own", f"own{len(mount)}.example")
    theirs = _token(world, guest, mount)
    assert error_of(call(world, f"{mount}/api/stats", token=theirs, params=_site(world))) == (403, "Access denied")
    wanted = _site(world) | {"email": guest, "role": "viewer"}
    made = ok(call(world, path, "POST", json=wanted), 201)["invitation"]
    assert (made["status"], made["role"]) == ("pending", "viewer")
    open_for = datetime.fromisoformat(made["expiresAt"]) - datetime.fromisoformat(made["invitedAt"])
    assert open_for == timedelta(days=7)
    listed = ok(call(world, path, params=_site(world)))["members"]
    assert [one.get("status") for one in listed] == [None, "pending"]
    secret = made["inviteUrl"].partition("token=")[2]
    shown = ok(world.client.get(f"{mount}/api/invite", params={"token": secret}))
    assert shown["invite"]["email"] == guest
    wrong = call(world, f"{mount}/api/invite", "POST", json={"token": secret})
    assert error_of(wrong) == (400, "This invitation is for a different email address")
    joined = ok(call(world, f"{mount}/api/invite", "POST", theirs, json={"token": secret}))
    assert (joined["message"], joined["team"]["role"]) == ("Invite accepted", "viewer")
    again = call(world, f"{mount}/api/invite", "POST", theirs, json={"token": secret})
    assert error_of(again) == (400, "Invitation has already been accepted")
    assert call(world, f"{mount}/api/stats", token=theirs, params=_site(world)).status_code == 200
    assert error_of(call(world, f"{mount}/api/export", token=theirs, params=_site(world))) == (403, "Access denied")
    refused = call(world, path, "POST", theirs, json=_site(world) | {"email": "x@example.org", "role": "viewer"})
    assert error_of(refused) == (403, "Only owners and admins can invite team members")
    sites = {site["siteId"]: site for site in ok(call(world, path, token=theirs))["sites"]}
    assert sites[world.project.site_id]["role"] == "viewer"
    member = next(one for one in ok(call(world, path, params=_site(world)))["members"] if one["email"] == guest)
    raised = call(world, path, "PATCH", json=_site(world) | {"userId": member["id"], "role": "admin"})
    assert ok(raised)["member"]["role"] == "admin"
    owner = ok(call(world, f"{mount}/api/user/status"))["id"]
    change = call(world, path, "PATCH", json=_site(world) | {"userId": owner, "role": "viewer"})
    assert error_of(change) == (403, "Cannot change the owner's role")
    removal = call(world, path, "DELETE", theirs, params=_site(world) | {"userId": owner})
    assert error_of(removal) == (403, "Cannot remove the site owner")
    gone = call(world, path, "DELETE", params=_site(world) | {"userId": member["id"]})
    assert ok(gone)["message"] == "Team member removed successfully"
    unknown = call(world, path, "DELETE", params=_site(world) | {"userId": member["id"]})
    assert error_of(unknown) == (404, "Team member not found")
    assert error_of(call(world, f"{mount}/api/stats", token=theirs, params=_site(world))) == (403, "Access denied")


def test_invitations_that_cannot_be(world: World) -> None:
    for change, text in (
        ({"email": ""}, "Email address is required"),
        ({"role": "owner"}, "Invalid role. Must be: admin, member, or viewer"),
        ({"email": EMAIL}, "User is already a team member"),
    ):
        body = _site(world) | {"email": "new@example.org", "role": "viewer"} | change
        assert error_of(call(world, "/api/teams", "POST", json=body)) == (400, text)
    assert error_of(world.client.get("/api/invite")) == (400, "Token required")
    assert error_of(world.client.get("/api/invite", params={"token": "x"})) == (404, "Invalid or expired invite")
    token = {"token": "x"}
    assert error_of(world.client.post("/api/invite", json=token)) == (401, "Invalid or expired token")


def test_ten_invitations_an_hour(world: World) -> None:
    other = world.another("host@example.org", "Host", "host.example")
    site = {"siteId": other.project.site_id, "role": "viewer"}

    def invite(number: int) -> httpx.Response:
        body = site | {"email": f"g{number}@example.org"}
        return call(world, "/api/teams", "POST", other.secrets["zta"], json=body)

    assert {invite(number).status_code for number in range(10)} == {201}
    assert error_of(invite(10)) == (429, "Rate limit exceeded. Try again in 60 seconds.")


@pytest.mark.parametrize("mount", MOUNTS)
def test_the_user_and_their_logins(world: World, mount: str) -> None:
    status = ok(call(world, f"{mount}/api/user/status"))
    assert (status["email"], status["plan"], status["status"], status["canAccess"]) == (EMAIL, "free", "active", True)
    token, other = _token(world, EMAIL, mount), _token(world, EMAIL, mount)
    path = f"{mount}/api/user/sessions"
    sessions = ok(call(world, path, token=token))["sessions"]
    [current] = [one for one in sessions if one["isCurrent"]]
    assert current["ipAddress"].endswith(".*.*")
    assert error_of(call(world, path, "DELETE", token)) == (400, "Session ID or all=true required")
    unknown = call(world, path, "DELETE", token, params={"sessionId": "sess_nobody"})
    assert error_of(unknown) == (404, "Session not found")
    revoked = ok(call(world, path, "DELETE", token, params={"all": "true"}))
    assert revoked["message"] == f"Revoked {len(sessions) - 1} session(s)"
    assert error_of(call(world, path, token=other)) == (401, "Invalid or expired token")
    assert ok(call(world, path, "DELETE", token, params={"sessionId": current["id"]})) == {"success": True}
    assert error_of(call(world, path, token=token)) == (401, "Invalid or expired token")


@pytest.mark.parametrize("mount", MOUNTS)
def test_the_log_of_changes(world: World, mount: str) -> None:
    other = world.another(f"log{len(mount)}@example.org", "Log", f"log{len(mount)}.example")
    key, path = other.secrets["zta"], f"{mount}/api/activity-log"
    site = {"siteId": other.project.site_id}
    goal = site | {"name": "G", "type": "event", "eventAction": "x"}
    call(world, f"{mount}/api/goals", "POST", key, json=goal)
    page = ok(call(world, path, token=key))
    newest = page["activities"][0]
    assert (newest["type"], newest["action"], newest["target"]["name"]) == ("goal", "goal.created", "G")
    assert page["pagination"]["limit"] == 50
    assert newest["ipAddress"].endswith(".*.*")
    created = ok(call(world, path, token=key, params={"type": "goal", "limit": "1"}))
    assert [line["action"] for line in created["activities"]] == ["goal.created"]
    for limit in ("101", "0", "x"):
        refused = call(world, path, token=key, params={"limit": limit})
        assert error_of(refused) == (400, "Limit must be between 1 and 100")
    assert error_of(call(world, path, token=key, params={"type": "odd"})) == (400, "Invalid activity type")
    link = ok(call(world, f"{path}/export", token=key, params={"period": "7d", "format": "csv"}))["downloadUrl"]
    assert link.endswith("download=true")
    sheet = call(world, f"{path}/export", token=key, params={"download": "true"})
    lines = list(csv.reader(io.StringIO(sheet.text)))
    header = "Timestamp,Type,Action,Actor Email,Actor Name,Target Type,Target ID,IP Address,User Agent"
    assert ",".join(lines[0]) == header
    assert lines[1][2] == "goal.created"


def _asked(world: World, mount: str, **params: str) -> Any:
    return ok(call(world, f"{mount}/api/stats-api", params={"site_id": world.project.site_id} | params))


@pytest.mark.parametrize("mount", MOUNTS)
def test_the_stats_api(world: World, mount: str) -> None:
    week = _asked(world, mount)
    assert len(week["results"]) == 7
    assert week["results"][5] == {"date": NOON.date().isoformat(), "visitors": 3, "pageviews": 4}
    assert week["query"]["metrics"] == ["visitors", "pageviews"]
    pages = _asked(world, mount, property="page", metrics="pageviews,views_per_visit")
    assert {"page": "/blog/one", "pageviews": 1, "views_per_visit": 1.0} in pages["results"]
    blog = _asked(world, mount, filters="page==/blog/*;country==US")
    assert blog["results"][5]["pageviews"] == 1
    rest = _asked(world, mount, filters="page!=/other")
    assert rest["results"][5]["pageviews"] == 3
    day = NOON.date().isoformat()
    one = _asked(world, mount, period="custom", date_from=day, date_to=day)
    assert [row["pageviews"] for row in one["results"]] == [4]
    for params, text in (
        ({"metrics": "x"}, "Invalid metric: x"),
        ({"property": "x"}, "Invalid property: x"),
        ({"filters": "x==y"}, "Invalid filters: x==y"),
        ({"period": "8d"}, "Invalid time period"),
        ({"period": "custom"}, "date_from and date_to are required for a custom period"),
    ):
        site = {"site_id": world.project.site_id}
        assert error_of(call(world, f"{mount}/api/stats-api", params=site | params)) == (400, text)
    assert error_of(call(world, f"{mount}/api/stats-api", "POST")) == (405, "Method not allowed")
    assert error_of(call(world, f"{mount}/api/stats-api")) == (400, "Site ID required")


@pytest.mark.parametrize("mount", MOUNTS)
def test_shared_links(world: World, mount: str) -> None:
    things, at = world.services.things, datetime.now(UTC)
    by, link = Actor(world.first.account.id), f"link{mount}"
    things.create(world.project.id, Share(periods=("7d", "30d")), by, at, link=link)
    path = f"{mount}/api/public/stats"
    answer = world.client.get(path, params={"token": link})
    body = ok(answer)
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert (body["pageviews"], body["uniqueVisitors"], body["allowedPeriods"]) == (4, 3, ["7d", "30d"])
    assert body["site"] == {"domain": "shop.example", "nickname": "Shop"}
    assert body["countries"][0] == {"code": "US", "name": "United States", "count": 2}
    assert len(body["daily"]) == 7
    assert error_of(world.client.get(path)) == (400, "Share token required")
    assert error_of(world.client.get(path, params={"token": "x"})) == (404, "Invalid or expired share link")
    long = world.client.get(path, params={"token": link, "period": "90d"})
    assert error_of(long) == (403, "Period not allowed for this share")
    old = Share(expires_at=at - timedelta(seconds=1))
    things.create(world.project.id, old, by, at, link=f"old{mount}")
    assert error_of(world.client.get(path, params={"token": f"old{mount}"}))[0] == 404


def _hot(person: str, action: str, **data: Any) -> dict[str, Any]:
    return {"type": "event", "category": "heatmap", "action": action, "path": f"/hot{person}", "data": data}


@pytest.mark.parametrize("mount", MOUNTS)
def test_heatmaps_are_made_of_what_pages_send(world: World, mount: str) -> None:
    page = "/hot"
    port = {"viewportWidth": 1280, "viewportHeight": 720}
    sent = [
        {"type": "pageview", "path": page},
        _hot("", "click", x=10.4, y=20, element="a#buy", text="Buy", **port),
        _hot("", "click", x=10, y=20, element="a#buy", text="Buy", **port),
        _hot("", "click", x=5, y=120, element="p", **port),
        _hot("", "scroll", depth=60, **port),
        _hot("", "move", x=1, y=250),
    ]
    if mount == "":
        for item in sent:
            ok(world.client.post("/api/track", json={"siteId": world.project.site_id} | item))
        world.flow()
    path, asked = f"{mount}/api/heatmaps", {"siteId": world.project.site_id, "path": page}
    clicks = ok(call(world, path, params=asked | {"type": "click"}))
    assert (clicks["totalClicks"], clicks["pageviews"], clicks["period"]) == (3, 1, "7d")
    assert clicks["clicks"][0] == {"x": 10, "y": 20, "count": 2, "percentage": 66.7, "element": "a#buy", "text": "Buy"}
    assert clicks["viewport"] == {"width": 1280, "height": 720}
    scroll = ok(call(world, path, params=asked | {"type": "scroll"}))
    assert [depth["visitors"] for depth in scroll["scrollDepth"]] == [1, 1, 1, 0, 0]
    assert (scroll["avgScrollDepth"], scroll["foldHeight"]) == (60.0, 720)
    assert ok(call(world, path, params=asked | {"type": "move"}))["totalMovements"] == 1
    attention = ok(call(world, path, params=asked | {"type": "attention"}))
    assert attention["areas"] == [{"top": 200, "height": 100, "count": 1, "percentage": 100.0}]
    elements = ok(call(world, f"{path}/elements", params=asked | {"limit": "1"}))["elements"]
    assert elements == [{"element": "a#buy", "text": "Buy", "clicks": 2, "percentage": 66.7}]
    if mount == "":
        for _ in range(6):
            ok(
                world.client.post(
                    "/api/track", json={"siteId": world.project.site_id} | _hot("/rage", "click", x=1, y=2)
                )
            )
        world.flow()
    raged = ok(call(world, f"{path}/rage-clicks", params=asked | {"path": "/hot/rage"}))
    spot = {"x": 1, "y": 2, "element": None, "text": None, "visitors": 1}
    worst = {"clicks": 6, "percentage": 100.0, "occurrences": 1, "maxClicks": 6, "severity": "medium"}
    assert raged["rageClicks"] == [spot | worst]
    assert (raged["path"], raged["period"], raged["totalClicks"], raged["totalRageClicks"]) == ("/hot/rage", "7d", 6, 6)
    dead = ok(call(world, f"{path}/dead-clicks", params=asked | {"path": "/hot/rage"}))
    assert dead["deadClicks"] == [spot | {"count": 6, "percentage": 100.0}]
    assert (dead["totalClicks"], dead["totalDeadClicks"]) == (6, 6)
    for name in ("elements", "rage-clicks", "dead-clicks"):
        for params, status, text in (
            ({"path": ""}, 400, "Site ID and path are required"),
            ({"path": "/cold"}, 404, "No heatmap data found for this page"),
        ):
            assert error_of(call(world, f"{path}/{name}", params=asked | params)) == (status, text)
    assert ok(call(world, path, params=asked | {"path": "/hot/rage", "type": "click"}))["viewport"] == {
        "width": 1280,
        "height": 1024,
    }
    for params, status, text in (
        ({"path": ""}, 400, "Site ID and path are required"),
        ({"type": "odd"}, 400, "Invalid heatmap type. Must be: click, scroll, move, or attention"),
        ({"type": "click", "path": "/cold"}, 404, "No heatmap data found for this page"),
        ({"type": "click", "device": "tablet"}, 404, "No heatmap data found for this page"),
    ):
        assert error_of(call(world, path, params=asked | params)) == (status, text)
