"""Two tenants and every route about accounts: neither sees or changes what is the other's."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from schemas.projects import Dialect, Scope
from tests.api.accounts.conftest import API, Person
from tests.api.dialects.world import World

TAGS = {"account", "projects", "keys", "team"}


def told(person: Person) -> set[str]:
    """Everything by which somebody could be told in an answer."""
    project = person.project
    return {person.email, person.id, project.site_id, project.website_id, project.token, project.name, project.domain}


def calls(person: Person, world: World) -> list[tuple[str, str, Any]]:
    """Each route about accounts, with ids of this person where it takes any."""
    project = person.project
    key = person.client.post(f"{API}/keys", json={"kind": "jcht", "projectId": project.id}).json()["id"]
    login = person.client.get(f"{API}/me/logins").json()["data"][0]["id"]
    invite = person.client.post(f"{API}/invites", json={"email": "friend@example.org", "role": "viewer"}).json()
    secret = invite["url"].rpartition("=")[2]
    about = f"?projectId={project.site_id}"
    one = f"/projects/{project.website_id}"
    return [
        ("GET", one, None),
        ("PATCH", one, {"name": "Taken"}),
        ("DELETE", one, None),
        ("DELETE", f"{one}?purge=true", None),
        ("POST", f"{one}/token", None),
        ("POST", f"{one}/restore", None),
        ("GET", f"/keys{about}", None),
        ("POST", "/keys", {"kind": "jcht", "projectId": project.id}),
        ("PATCH", f"/keys/{key}", {"scope": "admin"}),
        ("DELETE", f"/keys/{key}", None),
        ("POST", f"/keys/{key}/regenerate", None),
        ("DELETE", f"/me/logins/{login}", None),
        ("GET", f"/members{about}", None),
        ("PATCH", f"/members/{person.id}", {"role": "viewer", "projectId": project.site_id}),
        ("PATCH", f"/members/{person.id}", {"role": "viewer"}),
        ("DELETE", f"/members/{person.id}{about}", None),
        ("DELETE", f"/members/{person.id}", None),
        ("GET", f"/invites{about}", None),
        ("POST", "/invites", {"email": "eve@example.org", "role": "admin", "projectId": project.id}),
        ("DELETE", f"/invites/{invite['id']}", None),
        ("DELETE", f"/invites/{invite['id']}{about}", None),
        ("POST", "/invites/accept", {"token": secret}),
        ("POST", "/invites/decline", {"token": secret}),
        ("GET", f"/activity{about}", None),
        ("GET", f"/activity{about}&format=csv", None),
    ]


def open_calls() -> list[str]:
    """Routes that take no id: each answers of the caller alone."""
    return [
        "/auth/session",
        "/me",
        "/me/logins",
        "/usage",
        "/projects",
        "/projects/deleted",
        "/keys",
        "/members",
        "/invites",
        "/activity",
        "/activity?format=csv",
        "/activity?limit=1000&from=2000-01-01",
    ]


@pytest.mark.parametrize("way", ["login", "key", "project key"])
def test_no_route_crosses(world: World, ann: Person, bob: Person, way: str) -> None:
    headers = {
        "login": dict(bob.client.headers),
        "key": bob.key(),
        "project key": bob.key(project=bob.project.id),
    }[way]
    before = [ann.client.get(f"{API}{path}").json() for path in ("/projects", "/keys", "/members")]
    listed = calls(ann, world)
    before_keys = ann.client.get(f"{API}/keys").json()
    for method, path, body in listed:
        answer = httpx.request(method, f"{world.url}{API}{path}", json=body, headers=headers)
        assert answer.status_code in (403, 404), (method, path, answer.text)
        assert not [word for word in told(ann) if word in answer.text], (method, path)
    for path in open_calls():
        answer = httpx.get(f"{world.url}{API}{path}", headers=headers)
        assert answer.status_code in (200, 403), path
        assert not [word for word in told(ann) if word in answer.text], path
    after = [ann.client.get(f"{API}{path}").json() for path in ("/projects", "/keys", "/members")]
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1] == before_keys
    assert ann.stored() == ann.project
    assert ann.client.get(f"{API}/me").status_code == 200


def test_every_route_is_tried(world: World, ann: Person) -> None:
    """A route that is added later must be thought of here."""
    layer: object = create_app(world.services.settings, world.services)
    while not isinstance(layer, FastAPI):
        layer = layer._app if hasattr(layer, "_app") else layer._native  # type: ignore[attr-defined]
    known = {
        (method, path.removeprefix(API))
        for path, item in layer.openapi()["paths"].items()
        for method, operation in ((name.upper(), one) for name, one in item.items())
        if TAGS & set(operation.get("tags", ()))
    }
    names = {ann.project.website_id: "{project_id}", ann.id: "{user_id}"}
    tried = {("GET", path.partition("?")[0]) for path in open_calls()}
    for method, path, _ in calls(ann, world):
        parts = [names.get(part, part) for part in path.partition("?")[0].split("/")]
        parts = ["{key_id}" if part.startswith("key_") else part for part in parts]
        parts = ["{login_id}" if part.startswith("sess_") else part for part in parts]
        tried.add((method, "/".join("{invite_id}" if part.startswith("invite_") else part for part in parts)))
    of_nobody_else = {
        ("POST", "/auth/session"),
        ("DELETE", "/auth/session"),
        ("POST", "/auth/password/forgot"),
        ("POST", "/auth/password/reset"),
        ("PATCH", "/me"),
        ("DELETE", "/me/logins"),
        ("POST", "/projects"),
    }
    assert known == tried | of_nobody_else


def test_credential_of_another_surface_is_unknown_on_every_route(world: World, ann: Person) -> None:
    for dialect in (Dialect.JETRACK, Dialect.ZTA, Dialect.COHORLY, Dialect.OVYXA):
        headers = ann.key(Scope.ADMIN, dialect=dialect)
        for path in open_calls():
            assert httpx.get(f"{world.url}{API}{path}", headers=headers).status_code == 401
