"""Kept things over HTTP: every kind, two tenants, every scope."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from schemas.kept import Delivery, Export, Source, Trigger, Webhook
from schemas.projects import Dialect, Scope
from storage.meta.initialisation import Initialised
from storage.meta.kept import KeptRepository
from storage.meta.keys import KeySpec, create_key
from storage.meta.sealing import Sealer
from tests.api.dialects.world import World, serving
from tests.api.webhooks.receiver import receiving
from tests.factories import event_row

API = "/api/v1"
DAY = timedelta(days=1)
ONE_DAY = {"from": "2026-08-01", "to": "2026-08-01"}
FILTERS = [{"key": "country", "op": "eq", "value": "DE"}]
STEPS = [{"path": "/pricing"}, {"event": "signup"}]

# Path, a body that is kept, what it is shown as, a change, the scope it needs.
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], Scope]] = {
    "/goals": (
        {"name": "G", "type": "pageview", "path": "/thanks", "matchType": "contains", "value": 2},
        {"name": "G", "type": "pageview", "path": "/thanks", "matchType": "contains", "value": 2, "filters": []},
        {"name": "H"},
        Scope.WRITE,
    ),
    "/funnels": (
        {"name": "F", "steps": STEPS, "windowSeconds": 60},
        {
            "name": "F",
            "windowSeconds": 60,
            "steps": [
                {
                    "id": "step_1",
                    "name": "/pricing",
                    "type": "pageview",
                    "path": "/pricing",
                    "matchType": "exact",
                    "filters": [],
                },
                {"id": "step_2", "name": "signup", "type": "event", "event": "signup", "filters": []},
            ],
        },
        {"windowSeconds": 90},
        Scope.WRITE,
    ),
    "/segments": ({"name": "S", "filters": FILTERS}, {"name": "S", "filters": FILTERS}, {"name": "T"}, Scope.WRITE),
    "/alerts": (
        {"name": "A", "type": "threshold", "metric": "pageviews", "operator": ">", "threshold": 1000},
        {"condition": "pageviews > 1000", "enabled": True, "cooldownSeconds": 3600, "lastTriggeredAt": None},
        {"enabled": False},
        Scope.ADMIN,
    ),
    "/webhooks": (
        {"url": "https://hooks.example.org/", "events": ["goal"]},
        {"url": "https://hooks.example.org/", "events": ["goal"], "format": "native", "active": True},
        {"active": False},
        Scope.ADMIN,
    ),
    "/annotations": (
        {"date": "2026-02-01"},
        {"date": "2026-02-01", "title": "Event", "color": "#0d6efd", "icon": "star"},
        {"title": "New prices"},
        Scope.WRITE,
    ),
    "/dashboards": ({"name": "Growth"}, {"name": "Growth", "widgets": 0}, {"name": "Shrinkage"}, Scope.WRITE),
    "/shares": ({"periods": ["7d"]}, {"periods": ["7d"], "expiresAt": None}, {"periods": ["30d"]}, Scope.ADMIN),
}
PATHS = [*KINDS, "/exports", "/sources"]
BODIES = {path: kind[0] for path, kind in KINDS.items()} | {
    "/exports": {"type": "events"},
    "/sources": {"provider": "mixpanel", "name": "M", "credentials": {"apiSecret": "hush-hush"}},
}


@dataclass
class Tenants:
    """A running API, the first tenant's admin as its client, and a second one."""

    world: World
    second: Initialised

    @property
    def client(self) -> httpx.Client:
        return self.world.client

    @property
    def stranger(self) -> dict[str, str]:
        return {"X-API-Key": self.second.secrets["jcht"]}

    def key(self, scope: Scope) -> dict[str, str]:
        """A fresh key of the first tenant."""
        spec = KeySpec(self.world.project.account_id, Dialect.JCHT, scope, self.world.project.id)
        return {"X-API-Key": create_key(self.world.services.database, spec, datetime.now(UTC)).secret}

    def make(self, path: str, **fields: Any) -> dict[str, Any]:
        """Keep one more."""
        response = self.client.post(f"{API}{path}", json=BODIES.get(path, {}) | fields)
        assert response.status_code == 201, response.text
        made: dict[str, Any] = response.json()
        return made


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    with serving(tmp_path_factory.mktemp("data"), rate_limits=False) as world:
        world.client.headers["X-API-Key"] = world.secret("jcht")
        yield Tenants(world, world.another("eve@example.org", "Eve's", "eve.example"))


def error(response: httpx.Response) -> tuple[int, str, str]:
    body = response.json()
    return response.status_code, body["error"], body["message"]


@pytest.mark.parametrize("path", KINDS)
def test_life(tenants: Tenants, path: str) -> None:
    client = tenants.client
    _, expected, change, _ = KINDS[path]
    made = tenants.make(path)
    address = f"{API}{path}/{made['id']}"
    found = client.get(address).json()
    assert {name: found[name] for name in expected} == expected
    assert {name: made[name] for name in expected} == expected
    assert found["createdAt"].endswith("Z")
    listed = client.get(f"{API}{path}").json()
    assert set(listed) == {"data", "meta"}
    assert made["id"] in [item["id"] for item in listed["data"]]
    assert listed["meta"] == {"total": len(listed["data"]), "limit": 100, "hasMore": False, "nextCursor": None}
    changed = client.patch(address, json=change)
    assert changed.status_code == 200
    assert {name: changed.json()[name] for name in change} == change
    assert {name: client.get(address).json()[name] for name in change} == change
    gone = client.delete(address)
    assert (gone.status_code, gone.content) == (204, b"")
    for response in (client.get(address), client.patch(address, json=change), client.delete(address)):
        assert error(response) == (404, "not_found", "Not found")
    assert made["id"] not in [item["id"] for item in client.get(f"{API}{path}").json()["data"]]


@pytest.mark.parametrize("path", PATHS)
def test_no_tenant_sees_or_changes_what_another_keeps(tenants: Tenants, path: str) -> None:
    client, theirs = tenants.client, tenants.stranger
    made = tenants.make(path)
    one = f"{API}{path}/{made['id']}"
    assert made["id"] not in client.get(f"{API}{path}", headers=theirs).text
    assert client.get(one, headers=theirs).status_code == 404
    if path != "/exports":
        assert client.patch(one, json=BODIES[path], headers=theirs).status_code == 404
    assert client.delete(one, headers=theirs).status_code == 404
    named = {"projectId": str(tenants.world.project.id)}
    assert client.get(f"{API}{path}", params=named, headers=theirs).status_code == 403
    assert client.post(f"{API}{path}", params=named, json=BODIES[path], headers=theirs).status_code == 403
    assert client.get(one, params=named, headers=theirs).status_code == 403
    for below in ("results", "history", "deliveries", "widgets"):
        assert client.get(f"{one}/{below}", headers=theirs).status_code == 404
    assert client.get(one).status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_scopes(tenants: Tenants, path: str) -> None:
    client = tenants.client
    needed = KINDS[path][3] if path in KINDS else Scope.READ if path == "/exports" else Scope.ADMIN
    for scope in Scope:
        headers = tenants.key(scope)
        read = client.get(f"{API}{path}", headers=headers)
        assert read.status_code == (200 if scope.allows(Scope.READ) else 403), scope
        kept = client.post(f"{API}{path}", json=BODIES[path], headers=headers)
        assert kept.status_code == (201 if scope.allows(needed) else 403), scope
    assert client.post(f"{API}{path}", content=b"{", headers=tenants.key(Scope.INGEST)).status_code == 400
    assert client.get(f"{API}{path}", headers={"X-API-Key": "nobody"}).status_code == 401
    assert client.put(f"{API}{path}").status_code == 405


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/goals", {"type": "event"}, "Missing required field: name"),
        ("/goals", {"name": "G", "type": "pageview", "path": "(?=a)", "matchType": "regex"}, "Invalid field: path"),
        ("/goals", {"name": "G", "type": "pageview", "path": r"(a)\1", "matchType": "regex"}, "Invalid field: path"),
        ("/funnels", {"name": "F", "steps": STEPS[:1]}, "Invalid field: steps"),
        ("/funnels", {"name": "F", "steps": [{"goalId": "goal_x"}, *STEPS]}, "Invalid field: steps"),
        (
            "/segments",
            {"name": "S", "filters": [{"key": "a", "op": "matches", "value": "("}]},
            "Invalid field: filters",
        ),
        ("/alerts", {**BODIES["/alerts"], "metric": "goal.goal_x.completions"}, "Invalid field: metric"),
        ("/webhooks", {"url": "http://hooks.example.org/", "events": ["goal"]}, "Invalid field: url"),
        ("/webhooks", {"url": "https://169.254.169.254/", "events": ["goal"]}, "Invalid field: url"),
        ("/webhooks", {"url": "https://hooks.example.org:22/", "events": ["goal"]}, "Invalid field: url"),
        ("/exports", {"type": "events", "from": "yesterday"}, "Invalid parameter: from"),
        ("/exports", {"type": "events", "from": 5}, "Invalid field: from"),
        (
            "/exports",
            {"type": "events", "from": "2026-02-02", "to": "2026-02-01"},
            "Invalid parameter: from is after to",
        ),
        ("/sources", {"provider": "p", "name": "n"}, "Missing required field: credentials"),
        ("/sources", {"provider": "p", "credentials": {"a": "b"}}, "Missing required field: name"),
        ("/sources", {"name": "n", "credentials": {"a": "b"}}, "Missing required field: provider"),
        ("/sources", {"provider": "amplitude", "name": "n", "credentials": {"a": "b"}}, "Invalid field: credentials"),
        ("/goals", [], "The body must be a JSON object"),
    ],
)
def test_what_is_wrong_is_named(tenants: Tenants, path: str, body: Any, message: str) -> None:
    assert error(tenants.client.post(f"{API}{path}", json=body)) == (400, "bad_request", message)


@pytest.mark.parametrize("thing_id", ["x", "goal_" + "a" * 500, "%00", "goal_%F0%9F%98%80", "..%2F..%2Fmeta.db"])
def test_ids_that_are_none(tenants: Tenants, thing_id: str) -> None:
    assert tenants.client.get(f"{API}/goals/{thing_id}").status_code == 404


def test_lists_by_pages(tenants: Tenants) -> None:
    made = [tenants.make("/annotations", title=f"{n}")["id"] for n in range(3)]
    seen: list[str] = []
    params = {"limit": "2"}
    while True:
        page = tenants.client.get(f"{API}/annotations", params=params).json()
        assert (page["meta"]["limit"], page["meta"]["hasMore"]) == (2, page["meta"]["nextCursor"] is not None)
        seen += [item["id"] for item in page["data"]]
        if page["meta"]["nextCursor"] is None:
            break
        params["cursor"] = page["meta"]["nextCursor"]
    assert len(seen) == len(set(seen)) == page["meta"]["total"]
    assert seen[-3:] == made
    for name, value in (("limit", "abc"), ("cursor", "nonsense")):
        response = tenants.client.get(f"{API}/annotations", params={name: value})
        assert error(response) == (400, "bad_request", f"Invalid parameter: {name}")


def test_creator_of_an_annotation(tenants: Tenants) -> None:
    assert tenants.make("/annotations")["createdBy"] == tenants.client.get(f"{API}/me").json()["id"]


def test_changes_are_in_the_activity(tenants: Tenants) -> None:
    made = tenants.make("/goals", name="Traced")
    tenants.client.delete(f"{API}/goals/{made['id']}")
    [deleted, created] = tenants.client.get(f"{API}/activity", params={"type": "goal", "limit": "2"}).json()["data"]
    assert (deleted["action"], created["action"]) == ("goal.deleted", "goal.created")
    assert deleted["target"]["id"] == created["target"]["id"] == made["id"]
    assert deleted["target"]["name"] == "Traced"


def test_webhook_secret_is_shown_once(tenants: Tenants) -> None:
    made = tenants.make("/webhooks")
    secret = made["secret"]
    assert secret.startswith("whsec_")
    assert len(secret) > 40
    one = f"{API}/webhooks/{made['id']}"
    answers = [
        tenants.client.get(one),
        tenants.client.get(f"{API}/webhooks"),
        tenants.client.patch(one, json={"secret": "mine", "failures": 9, "description": "d"}),
        tenants.client.get(f"{API}/activity"),
    ]
    assert all("whsec" not in answer.text and "mine" not in answer.text for answer in answers)
    assert answers[2].json()["failures"] == 0
    bad = tenants.client.patch(one, json={"url": "https://10.0.0.1/"})
    assert error(bad) == (400, "bad_request", "Invalid field: url")
    data = tenants.world.services.settings.data_dir
    assert secret.encode() not in (data / "meta.db").read_bytes()
    assert (data / "secret.key").stat().st_mode & 0o777 == 0o600


def test_webhook_that_is_switched_on_again_begins_anew(tenants: Tenants) -> None:
    made = tenants.make("/webhooks")
    one = f"{API}/webhooks/{made['id']}"
    things, project = tenants.world.services.things, tenants.world.project.id

    def worn(old: Webhook) -> Webhook:
        return replace(old, active=False, failures=20, failing_since=datetime.now(UTC))

    things.change(Webhook, project, made["id"], worn, None, datetime.now(UTC))
    assert tenants.client.patch(one, json={"description": "d"}).json()["failures"] == 20
    on = tenants.client.patch(one, json={"active": True, "activeSince": "2020-01-01T00:00:00Z"}).json()
    assert (on["active"], on["failures"], on["failingSince"], on["activeSince"]) == (True, 0, None, on["updatedAt"])
    again = tenants.client.patch(one, json={"active": True}).json()
    assert again["activeSince"] == on["activeSince"]


def test_private_webhooks_are_a_setting(tmp_path: Path) -> None:
    with serving(tmp_path, webhook_allow_private=True) as world:
        body = {"url": "https://127.0.0.1:8443/", "events": ["goal"]}
        headers = {"X-API-Key": world.secret("jcht")}
        assert world.client.post(f"{API}/webhooks", json=body, headers=headers).status_code == 201


def test_deliveries_newest_first(tenants: Tenants) -> None:
    made = tenants.make("/webhooks")
    things, project = tenants.world.services.things, tenants.world.project.id
    for name in ("first", "second"):
        things.create(project, Delivery(event=name, payload="{}"), None, datetime.now(UTC), parent_id=made["id"])
    found = tenants.client.get(f"{API}/webhooks/{made['id']}/deliveries", params={"limit": "1"}).json()
    assert [(item["event"], item["state"]) for item in found["data"]] == [("second", "pending")]
    assert found["meta"]["total"] == 2


def test_alert_is_seen(tenants: Tenants) -> None:
    made = tenants.make("/alerts")
    things, project = tenants.world.services.things, tenants.world.project.id
    for value in (1001.0, 2000.0):
        trigger = Trigger(metric="pageviews", value=value, threshold=1000, condition="pageviews > 1000")
        things.create(project, trigger, None, datetime.now(UTC), parent_id=made["id"])
    one = f"{API}/alerts/{made['id']}"
    history = tenants.client.get(f"{one}/history").json()
    assert [(item["value"], item["acknowledged"]) for item in history["data"]] == [(2000, False), (1001, False)]
    assert history["data"][0]["id"].startswith("trigger_")
    assert tenants.client.post(f"{one}/acknowledge", headers=tenants.key(Scope.READ)).status_code == 403
    assert tenants.client.post(f"{one}/acknowledge", headers=tenants.stranger).status_code == 404
    assert tenants.client.post(f"{one}/acknowledge").json() == {"id": made["id"], "acknowledged": 2}
    assert tenants.client.post(f"{one}/acknowledge").json()["acknowledged"] == 0
    seen = tenants.client.get(f"{one}/history").json()["data"][0]
    assert seen["acknowledgedBy"] == tenants.client.get(f"{API}/me").json()["id"]
    assert seen["acknowledgedAt"].endswith("Z")


def test_new_project_has_a_dashboard(tenants: Tenants) -> None:
    """J-5 and fact 8."""
    [board] = tenants.client.get(f"{API}/dashboards", headers=tenants.stranger).json()["data"]
    assert list(board) == ["id", "name", "widgets", "createdAt", "updatedAt"]
    assert (board["id"][:5], board["name"], board["widgets"]) == ("dash_", "Overview", 8)
    whole = tenants.client.get(f"{API}/dashboards/{board['id']}", headers=tenants.stranger).json()
    assert len(whole["items"]) == whole["widgets"] == 8
    assert {"id", "title", "type", "query", "position"} <= set(whole["items"][0])


def test_widgets(tenants: Tenants) -> None:
    client = tenants.client
    board = tenants.make("/dashboards")
    path = f"{API}/dashboards/{board['id']}/widgets"
    body = {
        "title": "Pages",
        "type": "table",
        "query": {"dimension": "path"},
        "position": {"x": 1, "y": 2, "w": 3, "h": 4},
    }
    made = client.post(path, json=body)
    assert made.status_code == 201
    assert {name: made.json()[name] for name in body} == body
    one = f"{path}/{made.json()['id']}"
    assert client.get(one).json() == made.json()
    assert client.patch(one, json={"title": "Top"}).json()["title"] == "Top"
    assert [item["title"] for item in client.get(path).json()["data"]] == ["Top"]
    assert client.get(f"{API}/dashboards/{board['id']}").json()["widgets"] == 1
    assert client.get(f"{API}/dashboards").json()["data"][-1]["widgets"] == 1
    other = tenants.make("/dashboards")
    elsewhere = one.replace(board["id"], other["id"])
    for address, headers in ((elsewhere, {}), (one, tenants.stranger)):
        assert client.get(address, headers=headers).status_code == 404
        assert client.patch(address, json={"title": "x"}, headers=headers).status_code == 404
        assert client.delete(address, headers=headers).status_code == 404
    assert client.post(path, json=body, headers=tenants.stranger).status_code == 404
    assert client.get(path, headers=tenants.stranger).status_code == 404
    assert error(client.post(path, json={"title": "x"})) == (400, "bad_request", "Missing required field: type")
    assert client.delete(one).status_code == 204
    assert client.get(path).json()["meta"]["total"] == 0


def test_export_says_what_it_will_be(tenants: Tenants) -> None:
    made = tenants.make("/exports", format="parquet", **{"from": "2026-02-01", "to": "2026-02-02"}, filters=FILTERS)
    assert (made["from"], made["to"]) == ("2026-02-01T00:00:00Z", "2026-02-03T00:00:00Z")
    assert (made["type"], made["format"], made["filters"]) == ("events", "parquet", FILTERS)
    assert tenants.client.patch(f"{API}/exports/{made['id']}", json={}).status_code == 405
    newer = tenants.make("/exports")
    assert [item["id"] for item in tenants.client.get(f"{API}/exports").json()["data"]][:2] == [newer["id"], made["id"]]


class TestSources:
    """J-3, J-4 and fact 7."""

    def test_new_one_is_provisioning_and_shows_no_credentials(self, tenants: Tenants) -> None:
        made = tenants.make("/sources")
        key = made.pop("writeKey")
        assert key.startswith("sg_")
        assert list(made) == ["id", "provider", "name", "status", "createdAt"]
        assert (made["id"][:4], made["provider"], made["name"], made["status"]) == (
            "src_",
            "mixpanel",
            "M",
            "provisioning",
        )
        one = f"{API}/sources/{made['id']}"
        listed = tenants.client.get(f"{API}/sources").json()["data"][-1]
        assert listed == {
            "id": made["id"],
            "provider": "mixpanel",
            "name": "M",
            "status": "provisioning",
            "lastSync": None,
            "eventsToday": 0,
        }
        answers = [tenants.client.get(one), tenants.client.get(f"{API}/sources"), tenants.client.get(f"{API}/activity")]
        answers.append(tenants.client.patch(one, json={"credentials": {"apiSecret": "hush-hush-2"}}))
        assert [answer.status_code for answer in answers] == [200] * 4
        assert all("hush" not in answer.text and key not in answer.text for answer in answers)
        things = tenants.world.services.things
        assert things.secret(Source, tenants.world.project.id, made["id"]) == b'{"apiSecret":"hush-hush-2"}'

    def test_first_event_makes_it_active(self, tenants: Tenants) -> None:
        made, other = tenants.make("/sources"), tenants.make("/sources")
        sent = [{"event": "a", "userId": "u"}, {"event": "b", "source": "elsewhere"}]
        headers = {"X-API-Key": made["writeKey"]}
        assert tenants.client.post(f"{API}/events/batch", json=sent, headers=headers).json()["accepted"] == 2
        old = {"event": "c", "timestamp": (datetime.now(UTC) - 2 * DAY).isoformat()}
        assert tenants.client.post(f"{API}/events", json=old, headers=headers).status_code == 200
        assert {row.source for row in tenants.world.flow()} == {made["id"]}
        found = {item["id"]: item for item in tenants.client.get(f"{API}/sources").json()["data"]}
        assert (found[made["id"]]["status"], found[made["id"]]["eventsToday"]) == ("active", 2)
        since = datetime.now(UTC) - datetime.fromisoformat(found[made["id"]]["lastSync"])
        assert timedelta() <= since < timedelta(minutes=5)
        assert (found[other["id"]]["status"], found[other["id"]]["lastSync"]) == ("provisioning", None)
        one = tenants.client.get(f"{API}/sources/{made['id']}").json()
        assert (one["status"], one["eventsToday"], one["statusMessage"]) == ("active", 2, None)

    def test_events_of_another_project_are_not_its_own(self, tenants: Tenants) -> None:
        made = tenants.make("/sources")
        row = event_row(datetime.now(UTC), "u", source=made["id"], project=tenants.second.project.id)
        tenants.world.append([row])
        assert tenants.client.get(f"{API}/sources/{made['id']}").json()["status"] == "provisioning"

    def test_its_key_only_sends_and_ends_with_it(self, tenants: Tenants) -> None:
        made = tenants.make("/sources")
        headers = {"X-API-Key": made["writeKey"]}
        assert tenants.client.get(f"{API}/sources", headers=headers).status_code == 403
        assert tenants.client.post(f"{API}/events", json={"event": "a"}, headers=headers).status_code == 200
        assert tenants.client.delete(f"{API}/sources/{made['id']}").status_code == 204
        assert tenants.client.post(f"{API}/events", json={"event": "a"}, headers=headers).status_code == 401
        assert tenants.client.get(f"{API}/sources/{made['id']}").status_code == 404
        assert tenants.client.delete(f"{API}/sources/{made['id']}").status_code == 404

    def test_another_provider_wants_other_credentials(self, tenants: Tenants) -> None:
        one = f"{API}/sources/{tenants.make('/sources')['id']}"
        assert tenants.client.patch(one, json={"name": "N", "status": "error"}).json()["name"] == "N"
        bare = tenants.client.patch(one, json={"provider": "amplitude"})
        assert error(bare) == (400, "bad_request", "Missing required field: credentials")
        wrong = tenants.client.patch(one, json={"provider": "amplitude", "credentials": {"apiSecret": "x"}})
        assert error(wrong) == (400, "bad_request", "Invalid field: credentials")
        right = {"provider": "amplitude", "credentials": {"apiKey": "x", "secretKey": "y"}}
        assert tenants.client.patch(one, json=right).json()["provider"] == "amplitude"


class TestShares:
    def test_link_shows_figures_without_a_key(self, tenants: Tenants) -> None:
        row = event_row(datetime.now(UTC), "u", "pageview", project=tenants.second.project.id)
        tenants.world.append([row])
        body = {"periods": ["24h", "7d"]}
        made = tenants.client.post(f"{API}/shares", json=body, headers=tenants.stranger).json()
        assert made["token"] not in tenants.client.get(f"{API}/shares", headers=tenants.stranger).text
        address = f"{API}/shares/{made['token']}/overview"
        nobody = {"X-API-Key": ""}
        found = tenants.client.get(address, headers=nobody)
        assert found.status_code == 200
        shown = found.json()
        assert (shown["project"], shown["period"]) == ({"name": "Eve's", "domain": "eve.example"}, "7d")
        assert (shown["metrics"]["pageviews"], len(shown["timeseries"])) == (1, 7)
        hours = tenants.client.get(address, params={"period": "24h"}, headers=nobody).json()
        assert len(hours["timeseries"]) in (24, 25)
        for period, status in (("30d", 403), ("8x", 400)):
            assert tenants.client.get(address, params={"period": period}, headers=nobody).status_code == status
        assert tenants.client.get(f"{API}/shares/{made['id']}/overview", headers=nobody).status_code == 404
        tenants.client.delete(f"{API}/shares/{made['id']}", headers=tenants.stranger)
        assert error(tenants.client.get(address, headers=nobody)) == (404, "not_found", "Not found")

    def test_expired_link(self, tenants: Tenants) -> None:
        made = tenants.make("/shares", expiresAt="2026-01-01T00:00:00Z")
        assert made["expiresAt"] == "2026-01-01T00:00:00Z"
        assert tenants.client.get(f"{API}/shares/{made['token']}/overview").status_code == 404


class TestResults:
    def test_goal(self, tenants: Tenants) -> None:
        made = tenants.make("/goals", name="Paid", type="event", event="paid", value=5)
        now = datetime.now(UTC) - timedelta(minutes=1)
        tenants.world.append(
            [
                event_row(now, "u1", "paid"),
                event_row(now, "u1", "paid", properties=b'{"value":20}'),
                event_row(now, "u2", "look"),
                event_row(now, "u3", "paid", project=tenants.second.project.id),
            ]
        )
        params = {"from": (now - timedelta(seconds=1)).isoformat()}
        found = tenants.client.get(f"{API}/goals/{made['id']}/results", params=params)
        assert found.status_code == 200, found.text
        body = found.json()
        assert body["results"]["completions"] == 2
        assert (body["results"]["uniqueCompletions"], body["results"]["totalValue"]) == (1, 25)
        assert body["results"]["avgValue"] == 12.5
        assert sum(point["completions"] for point in body["timeseries"]) == 2
        assert body["goal"]["id"] == made["id"]
        assert body["meta"]["accuracy"] == {"method": "exact", "error": 0.0}
        assert error(tenants.client.get(f"{API}/goals/{made['id']}/results", params={"interval": "year"}))[0] == 400
        compared = tenants.client.get(f"{API}/goals/{made['id']}/results", params={"compare": "previous_period"})
        assert error(compared)[0] == 400

    def test_conversion_of_a_goal_as_a_measure(self, tenants: Tenants) -> None:
        made = tenants.make("/goals", name="Won", type="event", event="won")
        now = datetime.now(UTC) - timedelta(minutes=1)
        names = [("v1", "won"), ("v1", "won"), ("v1", "seen"), ("v2", "seen"), ("v3", "seen"), ("v4", "won")]
        tenants.world.append([event_row(now, person, name) for person, name in names])
        filters = '[{"key":"event","op":"in","value":["won","seen"]}]'
        params = {"from": (now - timedelta(seconds=1)).isoformat(), "filters": filters, "goalId": made["id"]}
        figures = {
            "completions": 3,
            "uniqueCompletions": 2,
            "conversionRate": 75.0,
            "uniqueConversionRate": 50.0,
        }

        def ask(path: str, **more: str) -> Any:
            answer = tenants.client.get(f"{API}{path}", params={**params, **more})
            assert answer.status_code == 200, answer.text
            return answer.json()

        overview = ask("/overview", interval="day")
        assert overview["conversion"] == figures
        assert [point["conversion"] for point in overview["timeseries"] if point["conversion"]["completions"]] == [
            figures
        ]
        assert overview["metrics"]["visitors"] == 4
        metric = ask("/metrics", metric="conversion", interval="day")
        assert [point["value"] for point in metric["data"] if point["value"]] == [50.0]
        [won, seen] = ask("/breakdowns", dimension="event")["data"]
        assert won == {
            "value": "won",
            "visitors": 2,
            "completions": 3,
            "uniqueCompletions": 2,
            "conversionRate": 150.0,
            "uniqueConversionRate": 100.0,
        }
        assert (seen["visitors"], seen["completions"]) == (3, 0)
        results = tenants.client.get(f"{API}/goals/{made['id']}/results", params=params).json()["results"]
        assert figures.items() <= results.items()

    @pytest.mark.parametrize("path", ["/overview?x=1", "/metrics?metric=conversion", "/breakdowns?dimension=event"])
    def test_conversion_of_what_is_no_goal_of_the_project(self, tenants: Tenants, path: str) -> None:
        answer = tenants.client.get(f"{API}{path}&goalId=goal_nowhere")
        assert error(answer)[:2] == (400, "bad_request")
        assert answer.json()["message"] == "Invalid parameter: goalId"

    def test_conversion_names_its_goal(self, tenants: Tenants) -> None:
        answer = tenants.client.get(f"{API}/metrics?metric=conversion")
        assert answer.json()["message"] == "Missing required parameter: goalId"

    def test_funnel_by_way_of_a_goal_that_is_gone(self, tenants: Tenants) -> None:
        goal = tenants.make("/goals", name="Tried", type="event", event="tried")
        steps = [{"event": "came"}, {"goalId": goal["id"], "name": "Tried"}]
        made = tenants.make("/funnels", steps=steps)
        tenants.client.delete(f"{API}/goals/{goal['id']}")
        now = datetime.now(UTC) - timedelta(minutes=1)
        second = timedelta(seconds=1)
        tenants.world.append(
            [event_row(now, "f1", "came"), event_row(now + second, "f1", "tried"), event_row(now, "f2", "came")]
        )
        body = tenants.client.get(f"{API}/funnels/{made['id']}/results").json()
        assert [(step["name"], step["count"]) for step in body["steps"]] == [("came", 2), ("Tried", 1)]
        assert body["funnel"]["steps"][1]["goalId"] == goal["id"]
        assert body["meta"]["version"] > 0

    def test_segments_and_goals_are_named_in_questions(self, tenants: Tenants) -> None:
        segment = tenants.make("/segments", filters=[{"key": "event", "op": "eq", "value": "rare"}])
        now = datetime.now(UTC) - timedelta(minutes=1)
        tenants.world.append([event_row(now, "s1", "rare"), event_row(now, "s2", "often")])
        params = {"segmentId": segment["id"]}
        found = tenants.client.get(f"{API}/overview", params=params)
        assert found.json()["metrics"]["events"] == 1
        foreign = tenants.client.get(f"{API}/overview", params=params, headers=tenants.stranger)
        assert error(foreign) == (400, "bad_request", "Invalid parameter: segmentId")
        goal = tenants.make("/goals", name="Rare", type="event", event="rare")
        question = {"steps": [{"event": "rare"}, {"goalId": goal["id"]}]}
        assert tenants.client.post(f"{API}/queries/funnel", json=question).json()["steps"][0]["count"] == 1
        foreign = tenants.client.post(f"{API}/queries/funnel", json=question, headers=tenants.stranger)
        assert error(foreign) == (400, "bad_request", "Invalid field: goalId")


class TestDashboardData:
    @pytest.fixture
    def board(self, tenants: Tenants) -> str:
        return str(tenants.make("/dashboards")["id"])

    def put(self, tenants: Tenants, board: str, **fields: Any) -> str:
        path = f"{API}/dashboards/{board}/widgets"
        made = tenants.client.post(path, json={"title": "W", **fields})
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def data(self, tenants: Tenants, board: str, **params: str) -> dict[str, Any]:
        found = tenants.client.get(f"{API}/dashboards/{board}/data", params=params)
        assert found.status_code == 200, found.text
        body: dict[str, Any] = found.json()
        return body

    def test_every_type(self, tenants: Tenants, board: str) -> None:
        goal = tenants.make("/goals", name="Rare", type="event", event="d-buy")["id"]
        funnel = tenants.make("/funnels", steps=[{"event": "d-look"}, {"goalId": goal, "name": "Bought"}])["id"]
        steps = [{"event": "d-look"}, {"goalId": goal}]
        queries: list[dict[str, Any]] = [
            {"type": "number", "query": {"metric": "events"}},
            {"type": "line", "query": {"metric": "visitors", "interval": "day"}},
            {"type": "table", "query": {"dimension": "event"}},
            {"type": "bar", "query": {"question": "series", "metric": "total", "breakdown": "event"}},
            {"type": "funnel", "query": {"funnelId": funnel}},
            {"type": "funnel", "query": {"steps": steps}},
            {"type": "retention", "query": {"bornEvent": "d-look", "interval": "day"}},
            {"type": "number", "query": {"question": "goal", "goalId": goal}},
        ]
        widgets = [self.put(tenants, board, **query) for query in queries]
        at = datetime(2026, 5, 1, 12, tzinfo=UTC)
        tenants.world.append(
            [
                event_row(at, "d1", "d-look"),
                event_row(at + timedelta(minutes=1), "d1", "d-buy"),
                event_row(at, "d2", "d-look"),
                event_row(at, "d3", "d-look", project=tenants.second.project.id),
            ]
        )
        found = self.data(tenants, board, **{"from": "2026-05-01", "to": "2026-05-02"})
        assert [item["id"] for item in found["items"]] == widgets
        assert "error" not in str(found["items"]).replace("'error': 0.", "")
        data = [item["data"] for item in found["items"]]
        assert (data[0]["metric"], data[0]["value"]) == ("events", 3)
        assert [point["value"] for point in data[1]["timeseries"]] == [2, 0]
        assert [(row["value"], row["events"]) for row in data[2]["rows"]] == [("d-look", 2), ("d-buy", 1)]
        assert [(line["name"], sum(line["data"])) for line in data[3]["series"]] == [("d-look", 2), ("d-buy", 1)]
        assert [step["count"] for step in data[4]["steps"]] == [step["count"] for step in data[5]["steps"]] == [2, 1]
        assert data[6]["cohorts"][0]["size"] == 2
        assert (data[7]["value"], data[7]["conversionRate"]) == (1, 50)
        versions = {item["meta"]["version"] for item in found["items"]}
        assert versions == {found["meta"]["version"]}
        assert found["items"][0]["meta"]["from"] == "2026-05-01T00:00:00Z"

    def test_request_goes_before_widgets_and_filters_are_joined(self, tenants: Tenants, board: str) -> None:
        own = {"from": "2026-06-01", "to": "2026-06-01", "filters": [{"key": "event", "op": "eq", "value": "e-1"}]}
        self.put(tenants, board, type="number", query={"metric": "events", **own})
        first, second = datetime(2026, 6, 1, 12, tzinfo=UTC), datetime(2026, 6, 2, 12, tzinfo=UTC)
        tenants.world.append(
            [
                event_row(first, "e1", "e-1"),
                event_row(first, "e2", "e-1", source="web"),
                event_row(first, "e1", "e-2"),
                event_row(second, "e1", "e-1"),
            ]
        )
        assert self.data(tenants, board)["items"][0]["data"]["value"] == 2
        later = self.data(tenants, board, **{"from": "2026-06-02", "to": "2026-06-02", "compare": "previous_period"})
        assert later["items"][0]["data"] == {
            "metric": "events",
            "value": 1,
            "timeseries": [],
            "before": 2,
            "change": -50,
        }
        web = '[{"key":"source","op":"eq","value":"web"}]'
        assert self.data(tenants, board, filters=web)["items"][0]["data"]["value"] == 1
        segment = tenants.make("/segments", filters=[{"key": "source", "op": "eq", "value": "web"}])["id"]
        self.put(tenants, board, type="number", query={"metric": "events", "segmentId": segment, **own})
        assert self.data(tenants, board)["items"][1]["data"]["value"] == 1

    def test_wrong_widget_does_not_hide_the_others(self, tenants: Tenants, board: str) -> None:
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"type": "number", "query": {"metric": "people"}}, "Invalid field: metric"),
            ({"type": "table"}, "Missing required parameter: dimension"),
            ({"type": "line", "query": {"interval": "hour", "from": "1990-01-01"}}, "Invalid parameter: interval"),
            ({"type": "line", "query": {"from": "now"}}, "Invalid parameter: from"),
            ({"type": "number", "query": {"segmentId": "seg_x"}}, "Invalid parameter: segmentId"),
            ({"type": "number", "query": {"question": "goal", "goalId": "goal_x"}}, "Invalid field: goalId"),
            ({"type": "funnel", "query": {"funnelId": "funnel_x"}}, "Invalid field: funnelId"),
            ({"type": "funnel", "query": {"steps": [{"goalId": "g"}, {"event": "a"}]}}, "Invalid field: goalId"),
            ({"type": "funnel"}, "Invalid field: steps"),
        ]
        for query, _ in wrong:
            self.put(tenants, board, **query)
        self.put(tenants, board, type="number")
        *items, last = self.data(tenants, board)["items"]
        for item, (query, message) in zip(items, wrong, strict=True):
            assert item["error"].startswith(message), query
        assert last["data"]["metric"] == "visitors"

    def test_version_of_the_past(self, tenants: Tenants, board: str) -> None:
        self.put(tenants, board, type="number", query={"metric": "events", "from": "2026-07-01", "to": "2026-07-01"})
        row = event_row(datetime(2026, 7, 1, 12, tzinfo=UTC), "p1")
        tenants.world.append([row])
        before = self.data(tenants, board)
        tenants.world.append([event_row(datetime(2026, 7, 1, 13, tzinfo=UTC), "p2")])
        assert self.data(tenants, board)["items"][0]["data"]["value"] == 2
        again = self.data(tenants, board, asOf=str(before["meta"]["version"]))
        assert again["items"][0]["data"] == before["items"][0]["data"]

    def test_empty_and_foreign(self, tenants: Tenants, board: str) -> None:
        assert self.data(tenants, board)["items"] == []
        path = f"{API}/dashboards/{board}/data"
        assert tenants.client.get(path, headers=tenants.stranger).status_code == 404
        assert error(tenants.client.get(path, params={"timezone": "Mars"}))[0] == 400
        for _ in range(50):
            self.put(tenants, board, type="number")
        one_more = tenants.client.post(f"{API}/dashboards/{board}/widgets", json={"title": "W", "type": "number"})
        assert error(one_more) == (409, "conflict", "A dashboard keeps at most 50 widgets")


@pytest.fixture(scope="module")
def filled(tenants: Tenants) -> Tenants:
    at = datetime(2026, 8, 1, 12, tzinfo=UTC)
    tenants.world.append(
        [
            event_row(at, "x1", "pageview", session="s1"),
            event_row(at + timedelta(minutes=1), "x1", "=cmd()", session="s1", properties=b'{"a":[1,"b"]}'),
            event_row(at, "x2", "pageview"),
            event_row(at, "x3", "pageview", project=tenants.second.project.id),
            event_row(at, "x4", "pageview", is_bot=True),
        ]
    )
    return tenants


class TestDownloads:
    def fetch(self, tenants: Tenants, **fields: Any) -> tuple[dict[str, Any], httpx.Response]:
        made = tenants.make("/exports", **(ONE_DAY | fields))
        assert made["downloadUrl"] == f"{API}/exports/{made['id']}/download"
        response = tenants.client.get(made["downloadUrl"])
        assert response.status_code == 200, response.text
        after: dict[str, Any] = tenants.client.get(f"{API}/exports/{made['id']}").json()
        assert after["bytes"] == len(response.content)
        return after, response

    def test_events(self, filled: Tenants) -> None:
        after, response = self.fetch(filled, format="ndjson")
        rows = [json.loads(line) for line in response.text.splitlines()]
        assert sorted((row["event"], row["userId"]) for row in rows) == [
            ("=cmd()", "x1"),
            ("pageview", "x1"),
            ("pageview", "x2"),
        ]
        assert after["rows"] == 3
        assert response.headers["content-type"].startswith("application/x-ndjson")
        assert response.headers["content-disposition"] == 'attachment; filename="events-2026-08-01.ndjson"'

    def test_filters(self, filled: Tenants) -> None:
        after, response = self.fetch(filled, format="json", filters=[{"key": "event", "op": "eq", "value": "pageview"}])
        assert (len(response.json()), after["rows"]) == (2, 2)

    @pytest.mark.parametrize("form", ["csv", "json", "ndjson", "parquet"])
    @pytest.mark.parametrize("kind", ["events", "sessions"])
    def test_every_format(self, filled: Tenants, kind: str, form: str) -> None:
        after, response = self.fetch(filled, type=kind, format=form)
        assert after["rows"] == (3 if kind == "events" else 2)
        if form == "parquet":
            assert response.content[:4] == response.content[-4:] == b"PAR1"

    def test_summary_by_day(self, filled: Tenants) -> None:
        after, response = self.fetch(filled, type="summary", format="csv", to="2026-08-02")
        names, first, second = response.text.splitlines()
        assert names.split(",")[:4] == ["date", "events", "pageviews", "visitors"]
        assert first.startswith("2026-08-01,3,2,2,")
        assert second.startswith("2026-08-02,0,0,0,")
        assert after["rows"] == 2
        _, response = self.fetch(filled, type="summary", format="json")
        assert response.json()[0]["visitors"] == 2
        parquet = filled.client.post(f"{API}/exports", json={"type": "summary", "format": "parquet"})
        assert error(parquet) == (400, "bad_request", "Invalid field: format")
        long = filled.client.post(f"{API}/exports", json={"type": "summary", "from": "1950-01-01"})
        assert error(long)[0] == 400

    def test_activity_is_for_admins(self, filled: Tenants) -> None:
        filled.make("/goals", name="=1+1")
        after, response = self.fetch(filled, type="activity", **{"from": None, "to": None})
        lines = response.text.splitlines()
        assert lines[0].startswith("timestamp,type,action,actorEmail")
        assert any(",goal,goal.created," in line and ",'=1+1," in line for line in lines)
        assert len(lines) == after["rows"] + 1
        reader = filled.key(Scope.READ)
        assert filled.client.get(after["downloadUrl"], headers=reader).status_code == 403
        assert filled.client.post(f"{API}/exports", json={"type": "activity"}, headers=reader).status_code == 403

    def test_other_tenants_and_ends(self, filled: Tenants) -> None:
        made = filled.make("/exports")
        assert filled.client.get(made["downloadUrl"], headers=filled.stranger).status_code == 404
        things, project = filled.world.services.things, filled.world.project.id
        ended = datetime(2026, 1, 1, tzinfo=UTC)
        things.change(Export, project, made["id"], lambda old: replace(old, expires_at=ended), None, ended)
        assert error(filled.client.get(made["downloadUrl"]))[:2] == (410, "gone")
        filled.client.delete(f"{API}/exports/{made['id']}")
        assert filled.client.get(made["downloadUrl"]).status_code == 404


def test_webhook_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving(tmp_path / "receiver") as receiver:
        monkeypatch.setenv("SSL_CERT_FILE", str(receiver.authority))
        with serving(tmp_path / "data", webhook_allow_private=True) as world:
            client = world.client
            client.headers["X-API-Key"] = world.secret("jcht")
            made = client.post(f"{API}/webhooks", json={"url": receiver.url, "events": ["goal"]}).json()
            one = f"{API}/webhooks/{made['id']}"
            told = client.post(f"{one}/test")
            assert told.status_code == 200
            assert (told.json()["state"], told.json()["responseStatus"], told.json()["attempts"]) == (
                "delivered",
                204,
                1,
            )
            [(_, headers, body)] = receiver.requests
            expected = hmac.new(made["secret"].encode(), body, hashlib.sha256).hexdigest()
            assert headers["X-Streamgauge-Signature"] == f"sha256={expected}"
            assert json.loads(body)["event"] == "test"
            receiver.status = 500
            assert client.post(f"{one}/test").json()["state"] == "failed"
            history = client.get(f"{one}/deliveries").json()["data"]
            assert [item["responseStatus"] for item in history] == [500, 204]
            assert history[1]["payload"] == body.decode()
            other = world.another("eve@example.org", "Eve", "eve.example").secrets["jcht"]
            assert client.post(f"{one}/test", headers={"X-API-Key": other}).status_code == 404
            reader = world.secret("read")
            assert client.post(f"{one}/test", headers={"X-API-Key": reader}).status_code == 403
            world.services.kept = KeptRepository(
                world.services.database, Sealer([b"0123456789abcdef0123456789abcdef"]), lambda _: None
            )
            assert error(client.post(f"{one}/test"))[:2] == (409, "conflict")
            assert len(receiver.requests) == 2


def test_guessing_links_and_asking_one_too_often_is_limited(tmp_path: Path) -> None:
    with serving(tmp_path, limit_native="3/60", limit_login="2/60") as world:
        client = world.client
        share = client.post(f"{API}/shares", json={}, headers={"X-API-Key": world.secret("jcht")}).json()
        address = f"{API}/shares/{share['token']}/overview"
        assert [client.get(address).status_code for _ in range(4)] == [200, 200, 200, 429]
        guesses = [client.get(f"{API}/shares/guess-{n}/overview") for n in range(3)]
        assert [guess.status_code for guess in guesses] == [404, 404, 429]
        assert int(guesses[2].headers["Retry-After"]) >= 1
