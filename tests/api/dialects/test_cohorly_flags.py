"""Feature flags: kept on the native surface, evaluated on Cohorly's."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from schemas.projects import Dialect, Scope
from storage.meta.keys import KeySpec, create_key
from tests.api.dialects.world import World, serving

MOUNTS = ["", "/compat/cohorly"]
API = "/api/v1/flags"
PRO = {
    "key": "checkout",
    "name": "Checkout",
    "variants": [{"key": "short"}, {"key": "long", "payload": {"steps": 4}}],
    "rules": [{"filters": [{"key": "plan", "op": "eq", "value": "pro"}], "variant": "long"}],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("flags"), limit_cohorly_ingest="0") as found:
        sent = {"distinct_id": "ann", "$set": {"plan": "pro"}}
        token = {"X-Cohorly-Token": found.project.token}
        assert found.client.post("/engage", json=sent, headers=token).status_code == 200
        found.flow()
        for body in (PRO, {"key": "all", "rules": [{}]}, {"key": "off", "active": False}):
            assert native(found, "POST", body).status_code == 201
        yield found


def native(world: World, method: str, body: Any = None, path: str = "") -> httpx.Response:
    return world.client.request(method, f"{API}{path}", json=body, headers={"X-API-Key": world.secret("jcht")})


def evaluated(world: World, mount: str, body: Any, token: str | None = None, **headers: str) -> httpx.Response:
    named = {"X-Cohorly-Token": world.project.token if token is None else token} | headers
    return world.client.post(f"{mount}/flags/evaluate", json=body, headers=named)


@pytest.mark.parametrize("mount", MOUNTS)
def test_flags_of_a_person(world: World, mount: str) -> None:
    answer = evaluated(world, mount, {"distinct_id": "ann"})
    assert answer.status_code == 200
    nothing = {"variant": None, "payload": None}
    assert answer.json() == {
        "flags": {
            "checkout": {"enabled": True, "variant": "long", "payload": {"steps": 4}, "reason": "rule:0"},
            "all": {"enabled": True, "reason": "rule:0"} | nothing,
            "off": {"enabled": False, "reason": "inactive"} | nothing,
        }
    }
    stranger = evaluated(world, mount, {"distinct_id": "bob", "flag_keys": ["checkout", "nothing"]}).json()["flags"]
    assert stranger == {"checkout": {"enabled": False, "reason": "no_match"} | nothing}
    other = world.another("eve@example.org", "Other", "other.example").project.token
    assert evaluated(world, mount, {"distinct_id": "ann"}, other).json() == {"flags": {}}


@pytest.mark.parametrize("mount", MOUNTS)
def test_what_is_refused(world: World, mount: str) -> None:
    wrong = evaluated(world, mount, {"distinct_id": "ann"}, "nobody")
    assert (wrong.status_code, wrong.json()) == (401, {"status": 0, "error": "invalid token"})
    for body, text in (
        ({}, "missing distinct_id"),
        ({"distinct_id": 7}, "missing distinct_id"),
        ({"distinct_id": "a", "flag_keys": "checkout"}, "invalid flag_keys"),
        ([], "invalid request"),
    ):
        answer = evaluated(world, mount, body)
        assert (answer.status_code, answer.json()) == (400, {"status": 0, "error": text})


@pytest.mark.parametrize("mount", MOUNTS)
def test_browsers_send_credentials(world: World, mount: str) -> None:
    origin = "https://app.example"
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    preflight = world.client.options(f"{mount}/flags/evaluate", headers=asked)
    for answer in (preflight, evaluated(world, mount, {"distinct_id": "ann"}, Origin=origin)):
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["vary"] == "Origin"
    assert preflight.status_code == 204
    secret = world.client.options(f"{mount}/flags/local-evaluation", headers=asked)
    assert "access-control-allow-origin" not in secret.headers


@pytest.mark.parametrize("mount", MOUNTS)
def test_servers_read_the_flags_with_their_secret(world: World, mount: str) -> None:
    def read(secret: str) -> httpx.Response:
        return world.client.get(f"{mount}/flags/local-evaluation", headers={"Authorization": f"Bearer {secret}"})

    first = native(world, "POST", path="/secret").json()["secret"]
    assert len(first) == 5 + 64
    assert first.startswith("cohf_")
    flags = {flag["key"]: flag for flag in read(first).json()["flags"]}
    assert list(flags["checkout"]) == ["key", "name", "active", "variants", "rules", "localEvaluable"]
    assert flags["checkout"]["rules"] == [
        {"filters": [{"key": "plan", "op": "eq", "value": "pro"}], "rollout": 100.0, "variant": "long"}
    ]
    assert {key: flag["localEvaluable"] for key, flag in flags.items()} == {"checkout": False, "all": True, "off": True}
    second = native(world, "POST", path="/secret").json()["secret"]
    assert read(second).status_code == 200
    for secret in (first, "cohf_" + "0" * 64, world.secret("cohorly"), world.project.token, "x" * 4000):
        answer = read(secret)
        assert (answer.status_code, answer.json()) == (401, {"error": "unauthorized"})
    assert world.client.get(f"{mount}/flags/local-evaluation").status_code == 401


def test_a_key_is_of_one_flag(world: World) -> None:
    again = native(world, "POST", {"key": "all"})
    assert (again.status_code, again.json()["error"]) == (409, "conflict")
    [all_] = [flag for flag in native(world, "GET").json()["data"] if flag["key"] == "all"]
    moved = native(world, "PATCH", {"key": "other"}, f"/{all_['id']}")
    assert (moved.status_code, moved.json()["message"]) == (400, "Invalid field: key")


def test_who_may_keep_flags(world: World) -> None:
    project = world.project
    made = native(world, "POST", {"key": "mine"}).json()
    other = {"X-API-Key": world.another("eve@example.org", "Third", "third.example").secrets["jcht"]}
    assert world.client.get(API, headers=other).json()["data"] == []
    assert world.client.get(f"{API}/{made['id']}", headers=other).status_code == 404
    assert world.client.delete(f"{API}/{made['id']}", headers=other).status_code == 404
    assert world.client.post(API, json={"key": "mine"}, headers=other).status_code == 201
    for scope in Scope:
        spec = KeySpec(project.account_id, Dialect.JCHT, scope, project.id)
        key = {"X-API-Key": create_key(world.services.database, spec, datetime.now(UTC)).secret}
        kept = world.client.post(API, json={"key": f"by-{scope}"}, headers=key)
        assert kept.status_code == (201 if scope.allows(Scope.WRITE) else 403), scope
        secret = world.client.post(f"{API}/secret", headers=key)
        assert secret.status_code == (201 if scope.allows(Scope.ADMIN) else 403), scope
    changed = native(world, "PATCH", {"active": False, "name": "Mine"}, f"/{made['id']}").json()
    assert (changed["key"], changed["active"], changed["name"]) == ("mine", False, "Mine")
    assert native(world, "DELETE", path=f"/{made['id']}").status_code == 204
    assert native(world, "GET", path=f"/{made['id']}").status_code == 404
    assert native(world, "POST", {"key": "mine"}).status_code == 201  # a key is free again
