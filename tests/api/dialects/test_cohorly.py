"""Cohorly's surface as its clients see it, at the root and under its own prefix."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from schemas.instants import to_millis
from schemas.projects import Dialect, Scope
from storage.meta.checks import Check, record_check
from storage.meta.keys import KeySpec, create_key
from tests.api.dialects.world import World, serving

MOUNTS = ["", "/compat/cohorly"]
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("cohorly"), limit_cohorly_ingest="0") as found:
        yield found


def _send(world: World, path: str, body: Any, token: str | None = None, **headers: str) -> httpx.Response:
    return world.client.post(path, json=body, headers={"X-Cohorly-Token": token or world.project.token} | headers)


def _api(world: World, path: str, method: str = "GET", key: str | None = None, **more: Any) -> httpx.Response:
    bearer = {"Authorization": f"Bearer {key or world.secret('cohorly')}"}
    return world.client.request(method, path, headers=bearer, **more)


def _event(name: str, person: str | int, minutes: int = 0, /, **properties: Any) -> dict[str, Any]:
    at = to_millis(START + timedelta(minutes=minutes))
    return {"event": name, "properties": {"distinct_id": person, "time": at} | properties}


def _fresh(world: World) -> dict[str, Any]:
    """A project of its own, with its token and number."""
    made: dict[str, Any] = _api(world, "/api/projects", "POST", json={"name": uuid.uuid4().hex}).json()
    return made


@pytest.mark.parametrize("mount", MOUNTS)
def test_the_admin_api_wants_the_account_key(world: World, mount: str) -> None:
    for path in ("/api/projects", "/api/stats", "/api/events", "/api/users"):
        nobody = world.client.get(f"{mount}{path}")
        assert (nobody.status_code, nobody.json()) == (401, {"error": "unauthorized"})
        wrong = _api(world, f"{mount}{path}", key=world.secret("jcht"))
        assert (wrong.status_code, wrong.json()) == (401, {"error": "unauthorized"})
    unknown = _api(world, "/compat/cohorly/api/nothing")
    assert (unknown.status_code, unknown.json()) == (404, {"error": "not found"})
    method = _api(world, f"{mount}/api/projects", "PATCH")
    assert (method.status_code, method.json()) == (405, {"error": "method not allowed"})


@pytest.mark.parametrize("mount", MOUNTS)
def test_projects_come_and_go(world: World, mount: str) -> None:
    path = f"{mount}/api/projects"
    made = _api(world, path, "POST", json={"name": f"mobile{mount}"})
    project = made.json()
    assert made.status_code == 201
    assert list(project) == ["id", "name", "token", "created_at", "event_count"]
    assert str(uuid.UUID(project["token"])) == project["token"]
    assert len(str(project["created_at"])) == 13
    assert project in _api(world, path).json()
    assert [one["id"] for one in _api(world, path).json()] == sorted(one["id"] for one in _api(world, path).json())
    assert _api(world, path, "POST", json={"name": f"mobile{mount}"}).status_code == 409
    wrong: tuple[Any, ...] = ({}, {"name": ""}, {"name": 7}, [])
    for body in wrong:
        answer = _api(world, path, "POST", json=body)
        assert (answer.status_code, answer.json()) == (400, {"error": "missing name"})
    assert _api(world, f"{path}/{project['id']}", "DELETE").json() == {"ok": True}
    assert _api(world, f"{path}/{project['id']}", "DELETE").status_code == 404
    assert _send(world, f"{mount}/track", _event("a", "b"), project["token"]).status_code == 401


def test_the_last_project_stays(world: World) -> None:
    other = world.another("one@example.org", "Only", "only.example")
    answer = _api(world, f"/api/projects/{other.project.id}", "DELETE", other.secrets["cohorly"])
    assert answer.status_code == 409
    assert _api(world, f"/api/projects/{other.project.id}", "DELETE").status_code == 404


@pytest.mark.parametrize("mount", MOUNTS)
def test_records_are_kept_and_read_back(world: World, mount: str) -> None:
    project = _fresh(world)
    number, token = {"projectId": project["id"]}, project["token"]
    one = _send(
        world, f"{mount}/track", _event("Page View", "ann", 1, **{"$current_url": "https://a.example/x"}), token
    )
    assert one.json() == {"status": 1, "inserted": 1}
    batch = [_event("buy", "ann", 2, plan="pro", **{"$insert_id": "i1"}), _event("buy", 7, 3, token="gone")]
    batch[1]["properties"]["token"] = token
    assert _send(world, f"{mount}/track", [*batch, batch[0]], "no token at all").status_code == 401
    assert _send(world, f"{mount}/track", [*batch, batch[0]], token).json() == {"status": 1, "inserted": 2}
    assert _send(world, f"{mount}/track", batch[0], token).json() == {"status": 1, "inserted": 1}
    world.flow()
    events = _api(world, f"{mount}/api/events", params=number).json()
    assert [list(event) for event in events] == [["event", "distinct_id", "time", "properties"]] * 3
    assert events[0] == {"event": "buy", "distinct_id": "7", "time": to_millis(START) + 180_000, "properties": {}}
    assert events[1]["properties"] == {"plan": "pro"}
    assert len(_api(world, f"{mount}/api/events", params=number | {"limit": 1}).json()) == 1
    assert _api(world, f"{mount}/api/events/names", params=number).json() == ["buy", "Page View"]
    keys = _api(world, f"{mount}/api/events/properties", params=number | {"event": "buy"})
    assert keys.json() == ["plan"]
    assert _api(world, f"{mount}/api/events/properties", params=number).json() == {"error": "missing event"}
    stats = _api(world, f"{mount}/api/stats", params=number).json()
    assert stats == {"events": 3, "users": 2, "profiles": 0, "event_names": 2, "events_today": 0}
    described = next(one for one in _api(world, f"{mount}/api/projects").json() if one["id"] == project["id"])
    assert described["event_count"] == 3


def test_an_event_without_time_is_of_now(world: World) -> None:
    project = _fresh(world)
    before = to_millis(datetime.now(UTC))
    _send(world, "/track", {"event": "now", "properties": {"distinct_id": "a"}}, project["token"])
    [row] = world.flow()
    assert before <= row.timestamp <= to_millis(datetime.now(UTC))
    assert _api(world, "/api/stats", params={"projectId": project["id"]}).json()["events_today"] == 1


@pytest.mark.parametrize("mount", MOUNTS)
def test_the_limits_of_a_batch(world: World, mount: str) -> None:
    path, token = f"{mount}/track", _fresh(world)["token"]
    many = [_event("a", f"p{at}") for at in range(501)]
    assert _send(world, path, many[:500], token).json() == {"status": 1, "inserted": 500}
    over = _send(world, path, many, token)
    assert (over.status_code, over.json()) == (400, {"status": 0, "error": "batch too large"})
    large = _send(world, path, _event("a", "b", text="x" * 1024 * 1024), token)
    assert (large.status_code, large.json()) == (413, {"status": 0, "error": "payload too large"})
    assert len(world.flow()) == 500
    assert _send(world, path, [], token).json() == {"status": 1, "inserted": 0}
    refused = _send(world, path, many[:1], "0c0f5e2a")
    assert (refused.status_code, refused.json()) == (401, {"status": 0, "error": "invalid token"})
    assert world.client.post(path, json=many[0]).json() == {"status": 0, "error": "invalid token"}


@pytest.mark.parametrize(
    "bad",
    [
        {"event": "a"},
        {"event": "", "properties": {"distinct_id": "x"}},
        {"event": "a", "properties": {}},
        {"event": "a", "properties": {"distinct_id": ""}},
        {"event": "a", "properties": {"distinct_id": "x", "time": "yesterday"}},
        {"event": "a", "properties": {"distinct_id": "x", "time": 10**18}},
        {"event": "n" * 257, "properties": {"distinct_id": "x"}},
        "text",
    ],
)
def test_one_bad_record_refuses_all(world: World, bad: Any) -> None:
    answer = _send(world, "/track", [_event("a", "b"), bad])
    assert answer.status_code == 400
    assert (answer.json()["status"], answer.json()["index"]) == (0, 1)
    assert world.flow() == []


def test_malformed_json(world: World) -> None:
    for path, shape in (("/track", {"status": 0}), ("/compat/cohorly/track", {"status": 0})):
        answer = world.client.post(path, content=b"{", headers={"X-Cohorly-Token": world.project.token})
        assert answer.status_code == 400
        assert answer.json().items() >= shape.items()
        nobody = world.client.post(path, content=b"{", headers={"X-Cohorly-Token": "x"})
        assert (nobody.status_code, nobody.json()) == (401, {"status": 0, "error": "invalid token"})


def test_a_repeated_insert_id_is_of_its_project(world: World) -> None:
    first, second = _fresh(world), _fresh(world)
    record = _event("a", "p", 0, **{"$insert_id": "same"})
    for project in (first, second, first):
        _send(world, "/track", record, project["token"])
    assert len(world.flow()) == 2


@pytest.mark.parametrize("mount", MOUNTS)
def test_profiles_change(world: World, mount: str) -> None:
    project = _fresh(world)
    token, number = project["token"], {"projectId": project["id"]}
    engage = f"{mount}/engage"
    operations = [
        {"distinct_id": "ann", "$set": {"plan": "free", "name": "Ann"}},
        {"distinct_id": "ann", "$set": {"plan": "pro"}, "$set_once": {"name": "x", "first": 1}},
        {"distinct_id": "ann", "$add": {"logins": 2}},
    ]
    assert _send(world, engage, operations, token).json() == {"status": 1, "applied": 3}
    world.flow()
    profile = _api(world, f"{mount}/api/users/ann", params=number).json()
    assert profile == {
        "distinct_id": "ann",
        "properties": {"plan": "pro", "name": "Ann", "first": 1, "logins": 2},
        "first_seen": None,
        "last_seen": None,
        "event_count": 0,
    }
    guarded = [{"distinct_id": "ann", "$unset": ["first"]}, {"distinct_id": "ann", "$add": {"logins": 1}}]
    refused = _send(world, engage, guarded, token)
    assert refused.status_code == 200
    assert refused.json()["refused"] == [{"index": 0, "op": "$unset"}]
    assert (refused.json()["status"], refused.json()["applied"]) == (0, 1)
    bearer = {"Authorization": f"Bearer {world.secret('cohorly')}"}
    assert _send(world, engage, guarded[0], token, **bearer).json() == {"status": 1, "applied": 1}
    world.flow()
    kept = _api(world, f"{mount}/api/users/ann", params=number).json()["properties"]
    assert kept == {"plan": "pro", "name": "Ann", "logins": 3}
    found = _api(world, f"{mount}/api/users", params=number | {"search": "PRO"}).json()
    assert [one["distinct_id"] for one in found] == ["ann"]
    assert _api(world, f"{mount}/api/users", params=number | {"search": "nobody"}).json() == []
    _send(world, engage, {"distinct_id": "ann", "$delete": True}, token, **bearer)
    world.flow()
    gone = _api(world, f"{mount}/api/users/ann", params=number)
    assert (gone.status_code, gone.json()) == (404, {"error": "not found"})
    bad = _send(world, engage, [{"distinct_id": "ann", "$set": 7}], token)
    assert (bad.status_code, bad.json()["index"]) == (400, 0)


@pytest.mark.parametrize("mount", MOUNTS)
def test_an_alias_makes_two_ids_one_person(world: World, mount: str) -> None:
    project = _fresh(world)
    token, number = project["token"], {"projectId": project["id"]}
    _send(world, f"{mount}/track", [_event("a", "anon"), _event("a", "ann", 5)], token)
    assert _send(world, f"{mount}/alias", {"alias": "anon", "distinct_id": "ann"}, token).json() == {"status": 1}
    _send(world, f"{mount}/track", _event("a", "anon", 9), token)
    world.flow()
    assert _api(world, f"{mount}/api/stats", params=number).json()["users"] == 1
    for known in ("ann", "anon"):
        profile = _api(world, f"{mount}/api/users/{known}", params=number).json()
        assert (profile["distinct_id"], profile["event_count"]) == ("ann", 3)
        assert profile["first_seen"] == to_millis(START)
    bad = _send(world, f"{mount}/alias", {"alias": "", "distinct_id": "ann"}, token)
    assert (bad.status_code, bad.json()) == (400, {"status": 0, "error": "invalid alias"})


@pytest.fixture(scope="module")
def journeys(world: World) -> dict[str, Any]:
    project = _fresh(world)
    records = [
        _event("view", "a", 0, plan="x"),
        _event("cart", "a", 5),
        _event("pay", "a", 9),
        _event("view", "b", 0, plan="y"),
        _event("cart", "b", 9),
        _event("view", "c", 1, plan="y"),
        _event("view", "a", 24 * 60, plan="y"),
    ]
    _send(world, "/track", records, project["token"])
    world.flow()
    return {"projectId": project["id"], "from": "2026-03-01", "to": "2026-03-03"}


@pytest.mark.parametrize("mount", MOUNTS)
def test_segmentation(world: World, journeys: dict[str, Any], mount: str) -> None:
    path = f"{mount}/api/query/segmentation"
    asked = journeys | {"event": "view", "unit": "day", "type": "total"}
    body = _api(world, path, "POST", json=asked).json()
    assert body["buckets"] == ["2026-03-01", "2026-03-02", "2026-03-03"]
    [series] = body["series"]
    assert series["name"] == "view"
    assert series["data"] == [
        {"bucket": day, "value": value} for day, value in zip(body["buckets"], [3, 1, 0], strict=True)
    ]
    unique = _api(world, path, "POST", json=asked | {"type": "unique", "breakdown": "plan"}).json()
    assert {one["name"]: [point["value"] for point in one["data"]] for one in unique["series"]} == {
        "y": [2, 1, 0],
        "x": [1, 0, 0],
    }
    for op, value, total in (
        ("eq", "x", 1),
        ("neq", "x", 3),
        ("contains", "y", 3),
        ("set", None, 4),
        ("not_set", None, 0),
    ):
        one = {"key": "plan", "op": op} | ({} if value is None else {"value": value})
        filtered = _api(world, path, "POST", json=asked | {"filters": [one]}).json()
        assert sum(point["value"] for point in filtered["series"][0]["data"]) == total, op
    for wrong in (
        {"event": None},
        {"unit": "year"},
        {"type": "mean"},
        {"filters": [{"key": "a", "op": "gt", "value": 1}]},
        {"from": None},
        {"from": "x"},
        {"projectId": "x"},
    ):
        answer = _api(world, path, "POST", json=asked | wrong)
        assert (answer.status_code, list(answer.json())) == (400, ["error"]), wrong
    assert _api(world, path, "POST", json=asked | {"projectId": 10**6}).status_code == 404


@pytest.mark.parametrize("mount", MOUNTS)
def test_funnel_and_retention(world: World, journeys: dict[str, Any], mount: str) -> None:
    asked = journeys | {"steps": ["view", "cart", "pay"], "windowDays": 1}
    assert _api(world, f"{mount}/api/query/funnel", "POST", json=asked).json() == [
        {"step": "view", "count": 3, "conversion_from_prev": 1.0, "conversion_from_start": 1.0},
        {"step": "cart", "count": 2, "conversion_from_prev": 0.6667, "conversion_from_start": 0.6667},
        {"step": "pay", "count": 1, "conversion_from_prev": 0.5, "conversion_from_start": 0.3333},
    ]
    for wrong in ({"steps": ["view"]}, {"steps": "view"}, {"windowDays": 0}):
        assert _api(world, f"{mount}/api/query/funnel", "POST", json=asked | wrong).status_code == 400
    cohorts = _api(world, f"{mount}/api/query/retention", "POST", json=journeys | {"bornEvent": "view"}).json()
    assert cohorts[0] == {"cohort": "2026-03-01", "size": 3, "values": [2, 1, 0]}
    assert [cohort["size"] for cohort in cohorts] == [3, 0, 0]
    assert _api(world, f"{mount}/api/query/retention", "POST", json=journeys | {"unit": "hour"}).status_code == 400


@pytest.mark.parametrize("mount", MOUNTS)
def test_the_status_is_public(world: World, mount: str) -> None:
    before = world.client.get(f"{mount}/status")
    assert list(before.json()) == ["ok", "db", "uptime_seconds", "latest"]
    assert before.json()["db"] is True
    assert before.headers["access-control-allow-origin"] == "*"
    # Ahead of the checks that the service makes itself meanwhile.
    now = datetime.now(UTC) + timedelta(hours=1)
    record_check(world.services.database, Check(now, True, 12))
    latest = world.client.get(f"{mount}/status").json()["latest"]
    assert latest == {"checked_at": to_millis(now) // 60_000 * 60_000, "ok": True, "latency_ms": 12}
    for days, number in (("0", 1), ("-5", 1), ("500", 90), ("x", 90), (None, 90)):
        params = {} if days is None else {"days": days}
        history = world.client.get(f"{mount}/status/history", params=params).json()
        assert 1 <= len(history) <= number + 1
        assert list(history[-1]) == ["date", "total", "ok_count", "uptime_pct", "avg_latency_ms"]


def test_preflights_of_beacons(world: World) -> None:
    headers = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    answer = world.client.options("/track", headers=headers)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["vary"] == "Origin"
    assert "X-Cohorly-Token" in answer.headers["access-control-allow-headers"]
    sent = _send(world, "/track", [], Origin="https://app.example")
    assert sent.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-origin" not in _api(world, "/api/projects").headers
    world.flow()


def test_the_log_is_away(world: World) -> None:
    world.services.producer.refusal = "breaker open"  # type: ignore[misc]  # the fake's is a field
    try:
        for path, body in (
            ("/track", _event("a", "b")),
            ("/engage", {"distinct_id": "a", "$set": {"b": 1}}),
            ("/alias", {"alias": "a", "distinct_id": "b"}),
        ):
            answer = _send(world, path, body)
            assert (answer.status_code, answer.json()) == (503, {"status": 0, "error": "unavailable"})
            assert int(answer.headers["retry-after"]) >= 1
    finally:
        world.services.producer.refusal = None  # type: ignore[misc]


def test_an_address_sends_a_hundred_times_in_ten_seconds(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("limits")) as world:
        answers = [_send(world, "/track", []) for _ in range(101)]
        assert {answer.status_code for answer in answers[:100]} == {200}
        assert (answers[100].status_code, answers[100].json()) == (429, {"status": 0, "error": "rate limited"})
        assert int(answers[100].headers["retry-after"]) >= 1
        assert _api(world, "/api/projects").status_code == 200
        assert _send(world, "/alias", {"alias": "a", "distinct_id": "b"}).status_code == 200


def test_a_key_that_reads_only_reads(world: World) -> None:
    spec = KeySpec(world.first.account.id, Dialect.COHORLY, Scope.READ)
    key = create_key(world.services.database, spec, datetime.now(UTC)).secret
    assert _api(world, "/api/projects", key=key).status_code == 200
    for answer in (
        _api(world, "/api/projects", "POST", key, json={"name": "x"}),
        _api(world, f"/api/projects/{world.project.id}", "DELETE", key),
        _api(world, "/api/privacy/subjects/ann", "DELETE", key),
    ):
        assert (answer.status_code, answer.json()) == (403, {"error": "forbidden"})
