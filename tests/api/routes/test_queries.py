"""Questions in bodies: series, funnels, retention, paths; names of events; people; sessions."""

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.filters import Filter, equals
from schemas.people import ALIAS, PROFILE
from schemas.rows import WebFields
from tests import oracle_figures
from tests.api.routes.surface import Client, surface
from tests.factories import LakeWriter, event_row
from tests.storage.query.asking import span_of
from tests.storage.query.test_overview import some_events

DAY = {"from": "2026-03-22", "to": "2026-03-22"}
WEEK = {"from": "2026-03-22", "to": "2026-03-29"}
QUERIES = ("series", "funnel", "retention", "paths")
STEPS = [{"path": "/a"}, {"event": "signup", "name": "Joined"}]


def _goal(project: int, goal_id: str) -> Filter | None:
    return equals("event", "signup") if (project, goal_id) == (1, "goal_1") else None


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Three people: a and b view two pages, a signs up on the same day and b never; x is a's other id."""
    writer = LakeWriter(tmp_path_factory.mktemp("queries") / "lake")
    rows = []
    for hour, who, event, path, plan in [
        (10, "a", "page_view", "/a", None),
        (10.1, "a", "page_view", "/b", None),
        (10.2, "x", "signup", None, "pro"),
        (11, "b", "page_view", "/a", None),
        (12, "c", "order", None, "free"),
        (34, "a", "order", None, "pro"),
    ]:
        at = span_of("2026-03-22", "2026-03-22").start + timedelta(hours=hour)
        properties = b"{}" if plan is None else msgspec.json.encode({"plan": plan, "price": hour})
        row = event_row(at, who, event, properties=properties)
        rows.append(msgspec.structs.replace(row, web=WebFields(path=path, country="DE" if who == "a" else "FR")))
    changes = ((ALIAS, {"alias": "x"}), (PROFILE, {"set": {"name": "Ada"}}))
    rows += [
        event_row("2026-03-22T09:00:00", "a", name, properties=msgspec.json.encode(change), is_system=True)
        for name, change in changes
    ]
    rows.append(event_row("2026-03-22T10:00:00", "a", "foreign", project=2))
    writer.append(rows)
    with surface(writer.place, find_goal=_goal) as client:
        yield client


def _ask(client: Client, kind: str, **body: Any) -> Any:
    answer = client.post(f"/api/v1/queries/{kind}", body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_series_of_the_values_of_a_dimension(client: Client) -> None:
    body = _ask(client, "series", metric="unique", breakdown="event", limit=2, **(DAY | {"to": "2026-03-23"}))
    assert body["buckets"] == ["2026-03-22", "2026-03-23"]
    assert body["series"] == [
        {"name": "order", "data": [1, 1]},
        {"name": "page_view", "data": [2, 0]},
        {"name": "other", "data": [1, 0], "isOther": True},
    ]
    assert body["meta"]["accuracy"] == {"method": "exact", "error": 0.0}


def test_series_of_one_event(client: Client) -> None:
    assert _ask(client, "series", metric="total", event="page_view", **DAY)["series"][0]["data"] == [3]
    assert _ask(client, "series", metric="max:price", **DAY)["series"] == [{"name": "max:price", "data": [12]}]
    filtered = _ask(client, "series", metric="total", filters=[{"key": "plan", "op": "eq", "value": "pro"}], **DAY)
    assert filtered["series"][0]["data"] == [1]


@pytest.mark.parametrize("last", [{"event": "signup", "name": "Joined"}, {"goalId": "goal_1", "name": "Joined"}])
def test_funnel_knows_people_under_all_their_ids(client: Client, last: Mapping[str, str]) -> None:
    body = _ask(client, "funnel", steps=[{"path": "/a"}, last], windowSeconds=3600, interval="day", **DAY)
    first, second = body["steps"]
    assert (first["name"], first["count"]) == ("/a", 2)
    assert (second["name"], second["count"], second["fromStart"], second["dropOff"]) == ("Joined", 1, 50.0, 1)
    assert second["medianSeconds"] == pytest.approx(720)
    assert body["timeseries"] == [{"date": "2026-03-22", "entered": 2, "completed": 1}]


def test_funnel_by_value_and_beside_an_earlier_time(client: Client) -> None:
    body = _ask(client, "funnel", steps=STEPS, breakdown="country", compare="previous_period", **DAY)
    assert {part["value"]: part["steps"][0]["count"] for part in body["breakdown"]} == {"DE": 1, "FR": 1}
    assert [step["count"] for step in body["comparison"]["steps"]] == [0, 0]


def test_retention(client: Client) -> None:
    body = _ask(client, "retention", returnEvent="order", **(DAY | {"to": "2026-03-23"}))
    assert [(cohort["date"], cohort["size"]) for cohort in body["cohorts"]] == [("2026-03-22", 3), ("2026-03-23", 0)]
    assert body["cohorts"][0]["values"][1] == 1


def test_paths(client: Client) -> None:
    body = _ask(client, "paths", event="page_view", dimension="path", **DAY)
    assert body["total"] == 2
    assert sorted(tuple(path["path"]) for path in body["paths"]) == [("/a",), ("/a", "/b")]


BAD: list[tuple[str, Any, str]] = [
    *((kind, [], "The body must be a JSON object") for kind in QUERIES),
    ("series", {}, "Missing required parameter: metric"),
    ("series", {"metric": "luck"}, "Invalid parameter: metric"),
    ("series", {"metric": "total", "interval": "year"}, "Invalid parameter: interval"),
    ("series", {"metric": "total", "breakdown": "colour"}, "Invalid parameter: breakdown"),
    ("series", {"metric": "total", "breakdown": "entryPath"}, "Invalid parameter: breakdown, entryPath is of sessions"),
    ("series", {"metric": "sessions", "breakdown": "path"}, "Invalid parameter: breakdown, sessions is not of"),
    ("series", {"metric": "total", "from": 5}, "Invalid parameter: from"),
    ("series", {"metric": "total", "limit": "many"}, "Invalid field: limit"),
    ("series", {"metric": "total", "compare": "previous_year"}, "Invalid parameter: compare"),
    ("series", {"metric": "total", "filters": {"key": "a"}}, "Invalid parameter: filters"),
    ("series", {"metric": "total", "asOf": True}, "Invalid parameter: asOf"),
    ("funnel", {}, "Invalid field: steps"),
    ("funnel", {"steps": STEPS * 6}, "Invalid field: steps"),
    ("funnel", {"steps": [1, 2]}, "Invalid field: steps[0]"),
    ("funnel", {"steps": [{}, {}]}, "Invalid field: steps[0], name an event, a path or a goalId"),
    ("funnel", {"steps": [STEPS[0], {"goalId": "goal_2"}]}, "Invalid field: goalId"),
    ("funnel", {"steps": [{"path": "[", "match": "regex"}, STEPS[1]]}, "Invalid parameter: filters, op matches"),
    ("funnel", {"steps": [{"path": "/", "match": "sort of"}, STEPS[1]]}, "Invalid field: matchType"),
    ("funnel", {"steps": STEPS, "windowSeconds": 0}, "Invalid field: windowSeconds"),
    ("funnel", {"steps": STEPS, "by": "planet"}, "Invalid field: by"),
    ("retention", {"interval": "hour"}, "Invalid field: interval"),
    ("retention", {"bornEvent": 7}, "Invalid field: bornEvent"),
    ("retention", {"from": "2020-01-01", "to": "2026-01-01"}, "Invalid field: interval gives more than 400 cohorts"),
    ("paths", {}, "Invalid field: anchor, name an event"),
    ("paths", {"event": "a", "direction": "up"}, "Invalid field: direction"),
    ("paths", {"event": "a", "length": 11}, "Invalid field: length"),
]


@pytest.mark.parametrize(("kind", "body", "message"), BAD)
def test_bodies_that_are_wrong(client: Client, kind: str, body: Any, message: str) -> None:
    answer = client.post(f"/api/v1/queries/{kind}", body)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert answer.json()["message"].startswith(message)


def test_names_properties_and_values(client: Client) -> None:
    names = client.get("/api/v1/events/names", DAY).json()["data"]
    assert names[0] == {
        "name": "page_view",
        "count": 3,
        "firstSeen": "2026-03-22T10:00:00Z",
        "lastSeen": "2026-03-22T11:00:00Z",
    }
    assert {name["name"] for name in names} == {"page_view", "signup", "order"}
    found = client.get("/api/v1/events/properties", DAY | {"event": "order"}).json()["data"]
    assert found == [
        {"key": "plan", "types": ["string"], "count": 1},
        {"key": "price", "types": ["number"], "count": 1},
    ]
    values = client.get("/api/v1/events/properties/plan/values", WEEK | {"search": "PR"}).json()["data"]
    assert values == [{"value": "pro", "count": 2}]


def test_people(client: Client) -> None:
    body = client.get("/api/v1/users", {"search": "ada"}).json()
    ada = {
        "userId": "a",
        "properties": {"name": "Ada"},
        "firstSeen": "2026-03-22T10:00:00Z",
        "lastSeen": "2026-03-23T10:00:00Z",
        "eventCount": 4,
        "aliases": ["x"],
    }
    assert body == {"data": [ada], "meta": {"total": 1, "limit": 100, "hasMore": False}}
    assert client.get("/api/v1/users/x").json() == ada
    assert client.get("/api/v1/users/nobody").status_code == 404
    timeline = client.get("/api/v1/users/x/events", WEEK | {"limit": "3"}).json()
    assert [item["event"] for item in timeline["data"]] == ["order", "signup", "page_view"]
    assert timeline["meta"]["total"] == 4
    rest = client.get("/api/v1/users/x/events", {"cursor": timeline["meta"]["nextCursor"]}).json()
    assert [item["event"] for item in rest["data"]] == ["page_view"]


def test_sessions_one_by_one(client: Client) -> None:
    body = client.get("/api/v1/sessions", DAY | {"userId": "x"}).json()
    [session] = body["data"]
    assert session == {
        "id": session["id"],
        "sessionId": None,
        "userId": "a",
        "startedAt": "2026-03-22T10:00:00Z",
        "endedAt": "2026-03-22T10:12:00Z",
        "durationSeconds": 720,
        "pageviews": 2,
        "events": 3,
        "entryPath": "/a",
        "exitPath": "/b",
        "referrer": None,
        "country": "DE",
        "device": None,
        "bounced": False,
    }
    one = client.get(f"/api/v1/sessions/{session['id']}").json()
    assert [event["event"] for event in one.pop("items")] == ["page_view", "page_view", "signup"]
    assert one == session
    assert client.get("/api/v1/sessions/sess_unknown").status_code == 404
    foreign = client.get(f"/api/v1/sessions/{session['id']}", headers={"X-API-Key": "other"}).json()
    assert [event["event"] for event in foreign["items"]] == ["foreign"]


def test_pages_of_sessions_are_all_sessions_once(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    rows = list(some_events(random.Random(3), 150))
    writer.append(rows)
    expected = oracle_figures.sessions(rows, 1, span_of(WEEK["from"], WEEK["to"]), lambda _: True)
    walked: list[dict[str, Any]] = []
    params = dict(WEEK)
    with surface(writer.place) as client:
        while True:
            body = client.get("/api/v1/sessions", params | {"limit": "20"}).json()
            assert body["meta"]["total"] == len(expected)
            walked += body["data"]
            if not body["meta"]["hasMore"]:
                break
            params = {"cursor": body["meta"]["nextCursor"]}
        for session in walked[:5]:
            found = client.get(f"/api/v1/sessions/{session['id']}").json()
            assert (found["id"], len(found["items"])) == (session["id"], session["events"])
    assert len({session["id"] for session in walked}) == len(walked) == len(expected)
    assert [session["startedAt"] for session in walked] == sorted((s["startedAt"] for s in walked), reverse=True)


def test_nobody_sees_another_project(client: Client) -> None:
    other = {"X-API-Key": "other"}
    assert client.get("/api/v1/overview", DAY, other).json()["metrics"]["events"] == 1
    by_event = client.get("/api/v1/breakdowns", DAY | {"dimension": "event"}, other).json()["data"]
    assert [row["value"] for row in by_event] == ["foreign"]
    assert [row["name"] for row in client.get("/api/v1/events/names", DAY, other).json()["data"]] == ["foreign"]
    assert client.get("/api/v1/events/properties", DAY, other).json()["data"] == []
    assert client.get("/api/v1/users/x", headers=other).status_code == 404
    assert client.get("/api/v1/users", headers=other).json()["data"][0]["properties"] == {}
    assert client.get("/api/v1/users/a/events", DAY, other).json()["meta"]["total"] == 1
    assert client.get("/api/v1/sessions", DAY, other).json()["meta"]["total"] == 1
    sees: dict[str, tuple[dict[str, Any], Callable[[Any], bool]]] = {
        "series": ({"metric": "total"}, lambda found: found["series"][0]["data"] == [1]),
        "funnel": ({"steps": STEPS}, lambda found: found["steps"][0]["count"] == 0),
        "retention": ({}, lambda found: found["cohorts"][0]["size"] == 1),
        "paths": ({"event": "foreign"}, lambda found: found["total"] == 1),
    }
    for kind, (body, is_own) in sees.items():
        assert is_own(client.post(f"/api/v1/queries/{kind}", body | DAY, other).json()), kind
        assert client.post(f"/api/v1/queries/{kind}?projectId=1", body, other).status_code == 403
