"""What ZTA keeps about sites: goals, funnels, alerts, webhooks, annotations."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from api.dialects.zta.funnels import progress
from schemas.figures import percentage
from schemas.funnels import FunnelStep
from schemas.rows import Row, WebFields
from tests.api.dialects.test_zta import MOUNTS, NOON, call, error_of, ok
from tests.api.dialects.world import World, serving
from tests.factories import event_row


def _view(project: int, minutes: int, person: str, path: str, event: str = "pageview") -> Row:
    at = NOON + timedelta(minutes=minutes)
    row = event_row(at, person, event, project=project, properties=b'{"category":"shop"}')
    return msgspec.structs.replace(row, web=WebFields(path=path, referrer_domain="(direct)", device="mobile"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("zta-kept"), limit_zta="0") as found:
        number = found.project.id
        found.append(
            [
                _view(number, 0, "a", "/"),
                _view(number, 1, "a", "/cart"),
                _view(number, 2, "a", "/thank-you", "buy"),
                _view(number, 0, "b", "/"),
                _view(number, 3, "b", "/cart"),
                _view(number, 0, "c", "/"),
                _view(number, 0, "d", "/blog/thank-you-post"),
            ]
        )
        yield found


def _site(world: World) -> dict[str, str]:
    return {"siteId": world.project.site_id}


def _make(world: World, path: str, body: dict[str, Any]) -> httpx.Response:
    return call(world, path, "POST", json=_site(world) | body)


@pytest.mark.parametrize("mount", MOUNTS)
def test_goals(world: World, mount: str) -> None:
    path = f"{mount}/api/goals"
    made = ok(
        _make(world, path, {"name": "Thanks", "type": "pageview", "path": "/thank-you", "matchType": "contains"}), 201
    )
    goal = made["goal"]
    assert (goal["completions"], goal["conversionRate"], goal["value"]) == (0, 0, 0)
    buy = {"name": "Buy", "type": "event", "eventAction": "buy", "eventCategory": "shop", "value": 5}
    bought = ok(_make(world, path, buy), 201)["goal"]
    stay = ok(_make(world, path, {"name": "Stay", "type": "duration", "durationSeconds": 150}), 201)["goal"]
    listed = {one["id"]: one for one in ok(call(world, path, params=_site(world)))["goals"]}
    assert listed[goal["id"]]["completions"] == 1
    assert (listed[bought["id"]]["completions"], listed[bought["id"]]["conversionRate"]) == (1, 25.0)
    assert listed[stay["id"]]["completions"] == 1
    stats = ok(call(world, f"{path}/{bought['id']}/stats"))
    assert stats["stats"] == {
        "completions": 1,
        "uniqueCompletions": 1,
        "conversionRate": 25.0,
        "totalValue": 5.0,
        "avgValue": 5.0,
    }
    assert len(stats["timeseries"]) == 30
    assert stats["topSources"] == [{"source": "(direct)", "completions": 1, "conversionRate": 25.0}]
    assert stats["topPages"][0]["path"] == "/thank-you"
    assert ok(call(world, path, "DELETE", params={"id": goal["id"]}))["message"] == "Goal deleted successfully"
    assert error_of(call(world, path, "DELETE", params={"id": goal["id"]})) == (404, "Goal not found")
    assert error_of(call(world, f"{path}/goal_nobody/stats")) == (404, "Goal not found")
    for body, text in (
        ({"type": "event"}, "Goal name is required"),
        ({"name": "x", "type": "odd"}, "Invalid goal type. Must be: pageview, event, or duration"),
        ({"name": "x", "type": "pageview"}, "Path is required for pageview goals"),
        ({"name": "x", "type": "event"}, "Event action is required for event goals"),
        ({"name": "x", "type": "duration"}, "Duration is required for duration goals"),
        ({"name": "x" * 101, "type": "event"}, "Goal name must be at most 100 characters"),
    ):
        assert error_of(_make(world, path, body)) == (400, text)
    assert percentage(342, 8143) == 4.2


STEPS = [
    {"name": "Home", "type": "pageview", "path": "/"},
    {"name": "Cart", "type": "pageview", "path": "/cart"},
    {"name": "Bought", "type": "event", "eventAction": "buy"},
]


@pytest.mark.parametrize("mount", MOUNTS)
def test_funnels(world: World, mount: str) -> None:
    path = f"{mount}/api/funnels"
    made = ok(_make(world, path, {"name": "Shop", "steps": STEPS}), 201)["funnel"]
    assert made["timeWindow"] == 3600
    assert [step["id"] for step in made["steps"]] == ["step_1", "step_2", "step_3"]
    [listed] = [one for one in ok(call(world, path, params=_site(world)))["funnels"] if one["id"] == made["id"]]
    assert (listed["totalVisitors"], listed["completions"], listed["conversionRate"]) == (3, 1, 33.3)
    stats = ok(call(world, f"{path}/{made['id']}/stats"))
    assert stats["stats"] == {
        "totalVisitors": 3,
        "completions": 1,
        "overallConversionRate": 33.3,
        "avgTimeToComplete": 120,
    }
    assert [step["visitors"] for step in stats["steps"]] == [3, 2, 1]
    assert [step["dropOff"] for step in stats["steps"]] == [1, 1, 0]
    assert stats["steps"][0]["avgTimeOnStep"] == 120
    assert len(stats["timeseries"]) == 30
    assert {"path": ["Home", "Cart", "Bought"], "count": 1, "avgTime": 120} in stats["topPaths"]
    tablet = ok(call(world, f"{path}/{made['id']}/stats", params={"device": "tablet"}))
    assert tablet["stats"]["totalVisitors"] == 0
    for body, text in (
        ({"steps": STEPS}, "Funnel name is required"),
        ({"name": "x", "steps": STEPS[:1]}, "Funnel must have at least 2 steps"),
        ({"name": "x", "steps": STEPS * 4}, "Funnel cannot have more than 10 steps"),
        ({"name": "x", "steps": [*STEPS, {"type": "odd"}]}, "Invalid step type. Must be: pageview, event, or goal"),
    ):
        assert error_of(_make(world, path, body)) == (400, text)
    unknown = [*STEPS, {"name": "G", "type": "goal", "goalId": "goal_abc123"}]
    assert error_of(_make(world, path, {"name": "x", "steps": unknown})) == (404, "Goal not found: goal_abc123")
    assert ok(call(world, path, "DELETE", params={"id": made["id"]}))["message"] == "Funnel deleted successfully"


def test_the_sample_of_rates() -> None:
    counts = [1000, 415, 106, 41]
    steps = tuple(FunnelStep("x", count, 0.0, 0.0, 0, None, None) for count in counts)
    found = progress(steps)
    assert [step["dropOffRate"] for step in found[:3]] == [58.5, 74.5, 61.3]
    assert [step["progressRate"] for step in found[:3]] == [41.5, 25.5, 38.7]


THRESHOLD = {
    "name": "Busy",
    "type": "threshold",
    "metric": "pageviews",
    "operator": ">",
    "threshold": 1000,
    "period": "1h",
    "notifications": ["email"],
}


@pytest.mark.parametrize("mount", MOUNTS)
def test_alerts(world: World, mount: str) -> None:
    path = f"{mount}/api/alerts"
    made = ok(_make(world, path, THRESHOLD), 201)["alert"]
    assert (made["enabled"], made["condition"], made["triggerCount"]) == (True, "pageviews > 1000", 0)
    off = ok(call(world, path, "PATCH", json={"id": made["id"], "enabled": False}))["alert"]
    assert off["enabled"] is False
    assert off["updatedAt"]
    assert made["id"] in [one["id"] for one in ok(call(world, path, params=_site(world)))["alerts"]]
    history = ok(call(world, f"{path}/{made['id']}/history", params={"limit": "500"}))
    assert history == {
        "alert": {"id": made["id"], "name": "Busy"},
        "history": [],
        "pagination": {"total": 0, "limit": 100, "offset": 0},
    }
    for change, status, text in (
        ({"type": "odd"}, 400, "Invalid alert type. Must be: threshold, comparison, or anomaly"),
        ({"metric": "x"}, 400, "Invalid metric: x"),
        ({"threshold": None}, 400, "Threshold is required for threshold alerts"),
        ({"notifications": ["sms"]}, 403, "SMS notifications require Enterprise plan"),
        ({"metric": "goal.goal_abc123.completions"}, 404, "Goal not found: goal_abc123"),
        ({"name": ""}, 400, "Alert name is required"),
    ):
        assert error_of(_make(world, path, THRESHOLD | change)) == (status, text)
    assert ok(call(world, path, "DELETE", params={"id": made["id"]}))["message"] == "Alert deleted successfully"
    assert error_of(call(world, path, "PATCH", json={"id": made["id"]})) == (404, "Alert not found")


@pytest.mark.parametrize("mount", MOUNTS)
def test_webhooks(world: World, mount: str) -> None:
    path = f"{mount}/api/webhooks"
    wanted = {"url": "https://hooks.example.org/z", "events": ["pageview", "goal"]}
    made = ok(_make(world, path, wanted), 201)["webhook"]
    assert made["secret"].startswith("whsec_")
    assert len(made["secret"]) > 20
    assert made["active"] is True
    listed = call(world, path, params=_site(world))
    assert made["secret"] not in listed.text
    assert made["id"] in [one["id"] for one in ok(listed)["webhooks"]]
    for change, text in (
        ({"url": "http://hooks.example.org"}, "URL must use HTTPS"),
        ({"events": ["odd"]}, "Invalid event type: odd"),
    ):
        assert error_of(_make(world, path, wanted | change)) == (400, text)
    assert ok(call(world, path, "DELETE", params={"id": made["id"]}))["message"] == "Webhook deleted successfully"
    others = [ok(_make(world, path, wanted), 201)["webhook"]["id"] for _ in range(10)]
    assert error_of(_make(world, path, wanted)) == (400, "Webhook limit reached")
    for one in others:
        ok(call(world, path, "DELETE", params={"id": one}))


@pytest.mark.parametrize("mount", MOUNTS)
def test_annotations(world: World, mount: str) -> None:
    path = f"{mount}/api/annotations"
    made = ok(_make(world, path, {"date": "2026-03-01"}), 201)["annotation"]
    assert (made["title"], made["color"], made["icon"]) == ("Event", "#0d6efd", "star")
    later = ok(_make(world, path, {"date": "2026-04-01", "title": "Launch"}), 201)["annotation"]
    change = {"annotationId": made["id"], "title": "Before"}
    assert ok(call(world, path, "PATCH", json=change))["annotation"]["title"] == "Before"
    march = _site(world) | {"startDate": "2026-03-01", "endDate": "2026-03-31"}
    assert [one["title"] for one in ok(call(world, path, params=march))["annotations"]] == ["Before"]
    for body, text in (
        ({}, "Site ID and date required"),
        ({"date": "1 March"}, "Invalid date format. Use YYYY-MM-DD"),
    ):
        assert error_of(_make(world, path, body)) == (400, text)
    for one in (made, later):
        assert ok(call(world, path, "DELETE", params={"annotationId": one["id"]})) == {"success": True}
    assert error_of(call(world, path, "DELETE", params={"annotationId": made["id"]})) == (404, "Annotation not found")


def test_things_of_others_are_unknown(world: World) -> None:
    other = world.another("eve@example.org", "Other", "other.example")
    goal = {"siteId": other.project.site_id, "name": "G", "type": "event", "eventAction": "x"}
    made = ok(call(world, "/api/goals", "POST", other.secrets["zta"], json=goal), 201)["goal"]
    assert error_of(call(world, f"/api/goals/{made['id']}/stats")) == (404, "Goal not found")
    assert error_of(call(world, "/api/goals", "DELETE", params={"id": made["id"]})) == (404, "Goal not found")
    assert error_of(call(world, "/api/goals", params={"siteId": other.project.site_id})) == (403, "Access denied")
