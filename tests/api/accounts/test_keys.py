"""Keys over HTTP."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from schemas.projects import Dialect, Scope
from storage.meta.secrets import KEY_FORMATS
from tests.api.accounts.conftest import API, SOON, Person, parsed, problem
from tests.api.dialects.world import World

FIELDS = {
    "id",
    "kind",
    "name",
    "prefix",
    "scope",
    "projectId",
    "rateLimit",
    "createdAt",
    "lastUsedAt",
    "expiresAt",
    "revokedAt",
}


def made(person: Person, **sent: Any) -> dict[str, Any]:
    answer = person.client.post(f"{API}/keys", json={"kind": "jcht", **sent})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.parametrize("kind", Dialect)
def test_key_of_each_kind_is_shown_once(ann: Person, kind: Dialect) -> None:
    key = made(ann, kind=kind, name="panel", scope="read", expiresInDays=30)
    assert set(key) == FIELDS | {"key"}
    form = KEY_FORMATS[kind]
    assert re.fullmatch(f"{form.start}[{form.alphabet}]{{{form.length}}}", key["key"])
    assert (key["kind"], key["name"], key["scope"], key["projectId"]) == (kind, "panel", "read", None)
    assert key["prefix"] == key["key"][:12]
    assert abs(parsed(key["expiresAt"]) - datetime.now(UTC) - timedelta(days=30)) < SOON
    listed = ann.client.get(f"{API}/keys")
    assert key["key"] not in listed.text
    del key["key"]
    assert key in listed.json()["data"]


def test_key_works_and_its_changes_hold_at_once(world: World, ann: Person) -> None:
    key = made(ann, scope="admin", projectId=ann.project.site_id)
    assert key["projectId"] == ann.project.id
    headers = {"X-API-Key": key["key"]}
    url = f"{API}/keys/{key['id']}"

    def statuses() -> tuple[int, int]:
        sent = httpx.post(f"{world.url}{API}/events", json={"event": "a"}, headers=headers)
        read = httpx.get(f"{world.url}{API}/events", headers=headers)
        return sent.status_code, read.status_code

    assert statuses() == (200, 200)
    changed = ann.client.patch(url, json={"scope": "read", "name": "reader", "rateLimit": "1200/60"}).json()
    assert (changed["scope"], changed["name"], changed["rateLimit"]) == ("read", "reader", "1200/60")
    assert statuses() == (403, 200)
    assert ann.client.patch(url, json={"rateLimit": None}).json()["rateLimit"] is None

    fresh = ann.client.post(f"{url}/regenerate")
    assert fresh.status_code == 201
    assert fresh.json()["key"] != key["key"]
    assert fresh.json()["scope"] == "read"
    assert statuses() == (401, 401)
    headers["X-API-Key"] = fresh.json()["key"]
    assert statuses() == (403, 200)
    assert ann.client.delete(f"{API}/keys/{fresh.json()['id']}").status_code == 204
    assert statuses() == (401, 401)
    assert ann.client.delete(f"{API}/keys/{fresh.json()['id']}").status_code == 404
    revoked = {one["id"]: one["revokedAt"] for one in ann.client.get(f"{API}/keys").json()["data"]}
    assert revoked[key["id"]] is not None
    assert revoked[fresh.json()["id"]] is not None


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({}, "Missing required field: kind"),
        ({"kind": "other"}, "Invalid field: kind"),
        ({"kind": "jcht", "scope": "root"}, "Invalid field: scope"),
        ({"kind": "jcht", "expiresInDays": 0}, "Invalid field: expiresInDays"),
        ({"kind": "jcht", "expiresInDays": "x"}, "Invalid field: expiresInDays"),
        ({"kind": "jcht", "name": "x" * 256}, "A key's name is at most 255 printable characters"),
    ],
)
def test_impossible_keys(ann: Person, sent: dict[str, Any], message: str) -> None:
    assert problem(ann.client.post(f"{API}/keys", json=sent)) == (400, "bad_request", message)


def test_impossible_limits(ann: Person) -> None:
    for limit in ("many", "1/0", "0/60", "-1/60", "1/60,", "999999999/60"):
        answer = ann.client.post(f"{API}/keys", json={"kind": "jcht", "rateLimit": limit})
        assert answer.status_code == 400
        assert "write requests/seconds like 600/60" in answer.json()["message"]


def test_unknown_keys_and_projects(ann: Person) -> None:
    for reference in ("key_000000000000", "sg_0123456789", ann.first.secrets["jcht"], "%00"):
        assert ann.client.delete(f"{API}/keys/{reference}").status_code == 404
    assert ann.client.post(f"{API}/keys", json={"kind": "jcht", "projectId": 999_999}).status_code == 404


def test_key_of_a_project_makes_keys_of_that_project_only(world: World, ann: Person) -> None:
    other = ann.client.post(f"{API}/projects", json={"name": "Blog"}).json()
    headers = ann.key(project=ann.project.id)
    url = f"{world.url}{API}/keys"
    inside = httpx.post(url, json={"kind": "jcht", "scope": "read"}, headers=headers)
    assert inside.json()["projectId"] == ann.project.id
    for sent in ({"kind": "jcht", "projectId": other["id"]}, {"kind": "cohorly"}, {"kind": "jetrack"}):
        assert httpx.post(url, json=sent, headers=headers).status_code == 403
    seen = httpx.get(url, headers=headers).json()["data"]
    assert {one["projectId"] for one in seen} == {ann.project.id}
    account = made(ann)
    for answer in (
        httpx.delete(f"{url}/{account['id']}", headers=headers),
        httpx.patch(f"{url}/{account['id']}", json={"name": "x"}, headers=headers),
        httpx.post(f"{url}/{account['id']}/regenerate", headers=headers),
    ):
        assert answer.status_code == 403


def test_key_of_cohorly_is_never_of_one_project(ann: Person) -> None:
    """Its product has no such key, and would open all projects with it."""
    answer = ann.client.post(f"{API}/keys", json={"kind": "cohorly", "projectId": ann.project.id})
    assert answer.status_code == 400


def test_lesser_keys_see_no_keys(world: World, ann: Person) -> None:
    for scope in (Scope.READ, Scope.WRITE, Scope.INGEST, Scope.SQL):
        assert httpx.get(f"{world.url}{API}/keys", headers=ann.key(scope)).status_code == 403
