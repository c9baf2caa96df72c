"""Projects over HTTP."""

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from schemas.projects import Scope
from tests.api.accounts.conftest import API, SOON, Person, parsed, problem
from tests.api.dialects.world import World

FIELDS = {
    "id",
    "name",
    "domain",
    "timezone",
    "public",
    "siteId",
    "websiteId",
    "token",
    "settings",
    "eventCount",
    "createdAt",
}
EMPTY: dict[str, Any] = {"excludePaths": [], "ignoreParams": [], "retentionDays": None, "allowedOrigins": []}


def made(person: Person, name: str, **more: Any) -> dict[str, Any]:
    answer = person.client.post(f"{API}/projects", json={"name": name, **more})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_project_is_made_with_every_id(ann: Person) -> None:
    project = made(ann, "Blog", domain="Blog.example", timezone="Europe/Berlin", public=True)
    assert set(project) == FIELDS
    assert re.fullmatch(r"site_[0-9A-Za-z]{12}", project["siteId"])
    assert str(uuid.UUID(project["websiteId"])) == project["websiteId"]
    assert str(uuid.UUID(project["token"])) == project["token"]
    assert (project["domain"], project["timezone"], project["public"]) == ("blog.example", "Europe/Berlin", True)
    assert (project["settings"], project["eventCount"]) == (EMPTY, 0)
    for reference in ("id", "siteId", "websiteId"):
        assert ann.client.get(f"{API}/projects/{project[reference]}").json() == project
    listed = ann.client.get(f"{API}/projects").json()
    assert [one["id"] for one in listed["data"]] == [ann.project.id, project["id"]]
    assert listed["meta"] == {"total": 2, "limit": 100, "hasMore": False, "nextCursor": None}


def test_events_are_counted(world: World, ann: Person) -> None:
    key = ann.key(Scope.INGEST, project=ann.project.id)
    for _ in range(3):
        assert httpx.post(f"{world.url}{API}/events", json={"event": "a"}, headers=key).status_code == 200
    world.flow()
    assert ann.client.get(f"{API}/projects/{ann.project.id}").json()["eventCount"] == 3


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({}, "Missing required field: name"),
        ({"name": " "}, "Missing required field: name"),
        ({"name": 5}, "Invalid field: name"),
        ({"name": "x" * 256}, "The project name needs 1 to 255 printable characters"),
        (
            {"name": "a", "timezone": "Mars/Olympus"},
            "'Mars/Olympus' is no IANA time zone; write one like Europe/Berlin",
        ),
        ({"name": "a", "public": "yes"}, "Invalid field: public"),
        ({"name": "a", "settings": {"retentionDays": 0}}, "RetentionDays is a number from 1 to 36500"),
        ({"name": "a", "settings": {"unknown": 1}}, "Invalid field: unknown"),
        ({"name": "a", "accountId": 1}, "Invalid field: accountId"),
    ],
)
def test_impossible_projects(ann: Person, sent: dict[str, Any], message: str) -> None:
    assert problem(ann.client.post(f"{API}/projects", json=sent)) == (400, "bad_request", message)
    assert ann.client.get(f"{API}/projects").json()["meta"]["total"] == 1


def test_same_name_or_domain_conflicts_within_the_account_only(ann: Person, bob: Person) -> None:
    made(ann, "Blog", domain="blog.example")
    for sent in ({"name": "Blog"}, {"name": "Other", "domain": "blog.example"}):
        assert ann.client.post(f"{API}/projects", json=sent).status_code == 409
    made(bob, "Blog", domain="blog.example")


def test_project_is_changed_in_part(ann: Person) -> None:
    project = made(ann, "Blog", domain="blog.example")
    url = f"{API}/projects/{project['siteId']}"
    sent = {"name": "Journal", "timezone": "Asia/Tokyo", "settings": {"excludePaths": ["/admin"], "retentionDays": 30}}
    changed = ann.client.patch(url, json=sent).json()
    settings = EMPTY | {"excludePaths": ["/admin"], "retentionDays": 30}
    assert changed == project | sent | {"settings": settings}
    changed = ann.client.patch(url, json={"settings": {"retentionDays": None}}).json()
    assert changed["settings"] == settings | {"retentionDays": None}
    assert ann.client.patch(url, json={}).json() == changed
    assert ann.client.patch(url, json={"name": ann.project.name}).status_code == 409
    assert ann.client.patch(url, json={"siteId": "site_000000000000"}).status_code == 400
    assert ann.client.get(url).json() == changed


def test_deleted_project_is_gone_everywhere_and_comes_back_whole(world: World, ann: Person) -> None:
    project = made(ann, "Blog")
    key = ann.key(Scope.ADMIN, project=project["id"])
    wide = ann.key(Scope.INGEST)
    event = {"event": "a"}
    assert ann.client.delete(f"{API}/projects/{project['id']}").status_code == 204

    def statuses() -> list[int]:
        return [
            ann.client.get(f"{API}/projects/{project['id']}").status_code,
            httpx.post(f"{world.url}{API}/events", json=event, headers=key).status_code,
            httpx.post(f"{world.url}{API}/events?projectId={project['id']}", json=event, headers=wide).status_code,
        ]

    assert statuses() == [404, 401, 404]
    assert ann.client.delete(f"{API}/projects/{project['id']}").status_code == 404
    [trashed] = ann.client.get(f"{API}/projects/deleted").json()["data"]
    assert trashed["id"] == project["id"]
    assert abs(parsed(trashed["expiresAt"]) - datetime.now(UTC) - timedelta(days=30)) < SOON

    restored = ann.client.post(f"{API}/projects/{project['siteId']}/restore")
    assert (restored.status_code, restored.json()) == (200, project)
    assert ann.client.get(f"{API}/projects/deleted").json()["data"] == []
    assert statuses() == [200, 200, 200]
    assert ann.client.post(f"{API}/projects/{project['id']}/restore").status_code == 404


def test_purged_project_cannot_be_restored(ann: Person) -> None:
    project = made(ann, "Blog")
    bad = ann.client.delete(f"{API}/projects/{project['id']}", params={"purge": "perhaps"})
    assert problem(bad) == (400, "bad_request", "Invalid parameter: purge")
    assert ann.client.delete(f"{API}/projects/{project['id']}", params={"purge": "true"}).status_code == 204
    assert ann.client.get(f"{API}/projects/deleted").json()["data"] == []
    assert ann.client.post(f"{API}/projects/{project['id']}/restore").status_code == 404


def test_last_project_stays(ann: Person) -> None:
    answer = ann.client.delete(f"{API}/projects/{ann.project.id}")
    assert problem(answer) == (409, "conflict", "The last project cannot be deleted")


def test_name_taken_meanwhile_stops_a_restore(ann: Person) -> None:
    project = made(ann, "Blog")
    ann.client.delete(f"{API}/projects/{project['id']}")
    made(ann, "Blog")
    assert ann.client.post(f"{API}/projects/{project['id']}/restore").status_code == 409


def test_new_token_replaces_the_old_at_once(world: World, ann: Person) -> None:
    old = ann.project.token
    cache = world.services.keys
    assert cache.resolve_token(old) is not None  # type: ignore[attr-defined]  # what Cohorly's lane asks
    changed = ann.client.post(f"{API}/projects/{ann.project.id}/token").json()
    assert changed["token"] != old
    assert cache.resolve_token(old) is None  # type: ignore[attr-defined]
    key = cache.resolve_token(changed["token"])  # type: ignore[attr-defined]
    assert (key.project_id, key.scope, key.kind) == (ann.project.id, Scope.INGEST, "token")


def test_token_is_a_key_nowhere(world: World, ann: Person) -> None:
    for headers in ({"X-API-Key": ann.project.token}, {"Authorization": f"Bearer {ann.project.token}"}):
        assert httpx.post(f"{world.url}{API}/events", json={"event": "a"}, headers=headers).status_code == 401


def test_key_of_a_project_sees_that_one_and_makes_none(world: World, ann: Person) -> None:
    other = made(ann, "Blog")
    headers = ann.key(project=ann.project.id)
    listed = httpx.get(f"{world.url}{API}/projects", headers=headers).json()
    assert [one["id"] for one in listed["data"]] == [ann.project.id]
    for reference in (other["id"], other["siteId"], other["websiteId"]):
        assert httpx.get(f"{world.url}{API}/projects/{reference}", headers=headers).status_code == 403
    assert httpx.post(f"{world.url}{API}/projects", json={"name": "More"}, headers=headers).status_code == 403
    assert httpx.get(f"{world.url}{API}/projects/deleted", headers=headers).status_code == 403


def test_reading_key_sees_no_token_to_send_with(world: World, ann: Person) -> None:
    headers = ann.key(Scope.READ)
    url = f"{world.url}{API}/projects/{ann.project.id}"
    assert httpx.get(url, headers=headers).json()["token"] is None
    for answer in (httpx.patch(url, json={"name": "x"}, headers=headers), httpx.delete(url, headers=headers)):
        assert answer.status_code == 403


def test_pages(ann: Person) -> None:
    for number in range(4):
        made(ann, f"p{number}")
    seen, cursor = [], None
    while True:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = ann.client.get(f"{API}/projects", params=params).json()
        assert page["meta"]["total"] == 5
        seen += [one["name"] for one in page["data"]]
        cursor = page["meta"]["nextCursor"]
        if not page["meta"]["hasMore"]:
            break
    assert (seen[1:], cursor) == (["p0", "p1", "p2", "p3"], None)
    for params in ({"cursor": "x"}, {"limit": "abc"}, {"cursor": "é"}):
        assert ann.client.get(f"{API}/projects", params=params).status_code == 400
