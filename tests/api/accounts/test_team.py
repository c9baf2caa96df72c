"""Members, roles and invitations."""

import logging
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from schemas.projects import Role, Scope
from tests.api.accounts.conftest import API, Person, log_in, problem, someone
from tests.api.dialects.world import World


@pytest.fixture
def eve(world: World) -> Iterator[Person]:
    yield from someone(world)


def invited(person: Person, email: str, role: str, project: int | None = None) -> str:
    """The secret of a fresh invitation."""
    answer = person.client.post(f"{API}/invites", json={"email": email, "role": role, "projectId": project})
    assert answer.status_code == 201, answer.text
    found = re.search(r"token=([\w-]+)$", answer.json()["url"])
    assert found is not None
    return found[1]


def join(owner: Person, person: Person, role: str, project: int | None = None) -> None:
    secret = invited(owner, person.email, role, project)
    assert person.client.post(f"{API}/invites/accept", json={"token": secret}).status_code == 200


def statuses(person: Person, project: Any) -> dict[str, int]:
    """What somebody may do in a project."""
    url = f"{API}/projects/{project.site_id}"
    about = {"projectId": project.site_id}
    return {
        "see": person.client.get(url).status_code,
        "read": person.client.get(f"{API}/events", params=about).status_code,
        "live": person.client.get(f"{API}/metrics", params=about | {"metric": "sessions"}).status_code,
        "change": person.client.patch(url, json={"public": False}).status_code,
        "keys": person.client.get(f"{API}/keys", params=about).status_code,
        "invite": person.client.get(f"{API}/invites", params=about).status_code,
    }


@pytest.mark.parametrize(("role", "changes"), [(Role.VIEWER, 403), (Role.MEMBER, 403), (Role.ADMIN, 200)])
@pytest.mark.parametrize("is_wide", [True, False])
def test_roles_open_what_they_say(ann: Person, bob: Person, role: Role, changes: int, is_wide: bool) -> None:
    assert set(statuses(bob, ann.project).values()) == {403}
    join(ann, bob, role, None if is_wide else ann.project.id)
    found = statuses(bob, ann.project)
    assert found == dict.fromkeys(("see", "read", "live"), 200) | dict.fromkeys(("change", "keys", "invite"), changes)
    assert [one["id"] for one in bob.client.get(f"{API}/projects").json()["data"]] == [bob.project.id, ann.project.id]
    # Nobody but the owner deletes, and a role in a project is none in the account.
    assert bob.client.delete(f"{API}/projects/{ann.project.site_id}").status_code == 403
    assert set(statuses(ann, bob.project).values()) == {403}


def test_role_in_one_project_is_none_in_the_next(ann: Person, bob: Person, world: World) -> None:
    other = world.another(ann.email, "Second", "second.example").project
    join(ann, bob, "admin", ann.project.id)
    assert set(statuses(bob, other).values()) == {403}
    assert set(statuses(bob, ann.project).values()) == {200}


def test_members_are_listed_changed_and_removed(ann: Person, bob: Person) -> None:
    join(ann, bob, "viewer")
    listed = ann.client.get(f"{API}/members").json()
    assert [(one["email"], one["role"], one["projectId"]) for one in listed["data"]] == [
        (ann.email, "owner", None),
        (bob.email, "viewer", None),
    ]
    assert set(listed["data"][1]) == {
        "id",
        "email",
        "name",
        "picture",
        "role",
        "projectId",
        "joinedAt",
        "lastActiveAt",
    }
    assert bob.client.get(f"{API}/members", params={"projectId": ann.project.id}).json() == listed
    changed = ann.client.patch(f"{API}/members/{bob.id}", json={"role": "admin"})
    assert (changed.status_code, changed.json()["role"]) == (200, "admin")
    assert statuses(bob, ann.project)["change"] == 200
    assert ann.client.delete(f"{API}/members/{bob.id}").status_code == 204
    assert set(statuses(bob, ann.project).values()) == {403}
    assert ann.client.delete(f"{API}/members/{bob.id}").status_code == 404
    assert ann.client.patch(f"{API}/members/{bob.id}", json={"role": "admin"}).status_code == 404


def test_owner_stays_owner(ann: Person) -> None:
    changed = ann.client.patch(f"{API}/members/{ann.id}", json={"role": "viewer"})
    assert problem(changed) == (403, "forbidden", "The owner's role cannot be changed")
    removed = ann.client.delete(f"{API}/members/{ann.id}")
    assert problem(removed) == (403, "forbidden", "The owner cannot be removed")
    sent = {"email": "x@example.org", "role": "owner"}
    assert ann.client.post(f"{API}/invites", json=sent).status_code == 403
    assert ann.client.post(f"{API}/invites", json=sent | {"role": "boss"}).status_code == 400
    assert ann.client.post(f"{API}/invites", json=sent | {"email": "x", "role": "viewer"}).status_code == 400


def test_only_the_owner_changes_roles(ann: Person, bob: Person) -> None:
    join(ann, bob, "admin", ann.project.id)
    sent = {"role": "member", "projectId": ann.project.id}
    assert bob.client.patch(f"{API}/members/{bob.id}", json=sent).status_code == 403


def test_invitation_is_for_its_address_and_good_once(ann: Person, bob: Person, eve: Person) -> None:
    secret = invited(ann, bob.email, "viewer")
    [pending] = ann.client.get(f"{API}/invites").json()["data"]
    assert (pending["email"], pending["status"]) == (bob.email, "pending")
    assert "token" not in str(pending)
    answer = eve.client.post(f"{API}/invites/accept", json={"token": secret})
    assert problem(answer) == (403, "forbidden", "This invitation is for a different e-mail address")
    assert bob.client.post(f"{API}/invites/accept", json={"token": secret}).status_code == 200
    assert bob.client.post(f"{API}/invites/accept", json={"token": secret}).status_code == 404
    assert ann.client.get(f"{API}/invites").json()["data"] == []
    again = ann.client.post(f"{API}/invites", json={"email": bob.email, "role": "admin"})
    assert problem(again) == (409, "conflict", "They are in the team already")


def test_declined_withdrawn_and_replaced_invitations_open_nothing(ann: Person, bob: Person) -> None:
    declined = invited(ann, bob.email, "viewer")
    assert bob.client.post(f"{API}/invites/decline", json={"token": declined}).status_code == 204
    withdrawn = invited(ann, bob.email, "viewer")
    [pending] = ann.client.get(f"{API}/invites").json()["data"]
    assert bob.client.delete(f"{API}/invites/{pending['id']}").status_code == 404, "whose it is not"
    assert ann.client.delete(f"{API}/invites/{pending['id']}").status_code == 204
    assert ann.client.delete(f"{API}/invites/{pending['id']}").status_code == 404
    replaced = invited(ann, bob.email, "viewer")
    invited(ann, bob.email, "member")
    for secret in (declined, withdrawn, replaced, "guess", "\0"):
        assert bob.client.post(f"{API}/invites/accept", json={"token": secret}).status_code == 404
    assert set(statuses(bob, ann.project).values()) == {403}


def test_invited_stranger_joins_with_a_password(world: World, ann: Person) -> None:
    email = f"new-{ann.email}"
    secret = invited(ann, email, "viewer")
    url = f"{world.url}{API}/invites/accept"
    assert httpx.post(url, json={"token": secret}).status_code == 401
    assert httpx.post(url, json={"token": secret, "password": "short"}).status_code == 400
    assert httpx.post(url, json={"token": "guess", "password": "a better horse"}).status_code == 404
    joined = httpx.post(url, json={"token": secret, "password": "a better horse", "firstName": "New"})
    assert (joined.status_code, joined.json()["name"], joined.json()["role"]) == (200, "New", "viewer")
    bearer = {"Authorization": f"Bearer {log_in(world, email, 'a better horse')['token']}"}
    seen = httpx.get(f"{world.url}{API}/projects", headers=bearer).json()["data"]
    assert [one["id"] for one in seen] == [ann.project.id]


def test_known_address_joins_with_its_own_password_only(world: World, ann: Person, bob: Person) -> None:
    secret = invited(ann, bob.email, "viewer")
    answer = httpx.post(f"{world.url}{API}/invites/accept", json={"token": secret, "password": "a better horse"})
    assert answer.status_code == 403
    assert set(statuses(bob, ann.project).values()) == {403}


def test_key_answers_no_invitation(world: World, ann: Person, bob: Person) -> None:
    secret = invited(ann, bob.email, "viewer")
    for what in ("accept", "decline"):
        answer = httpx.post(f"{world.url}{API}/invites/{what}", json={"token": secret}, headers=bob.key())
        assert answer.status_code == 403


def test_invitation_is_mailed(ann: Person, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    secret = invited(ann, "friend@example.org", "viewer")
    assert "the mail to friend@example.org: You are invited" in caplog.text
    assert secret in caplog.text


def test_admin_of_a_shared_project_makes_keys_for_it_and_no_wider_ones(world: World, ann: Person, bob: Person) -> None:
    join(ann, bob, "admin", ann.project.id)
    about = {"projectId": ann.project.id}
    made = bob.client.post(f"{API}/keys", json={"kind": "jcht", "scope": "ingest"} | about)
    assert made.status_code == 201
    headers = {"X-API-Key": made.json()["key"]}
    assert httpx.post(f"{world.url}{API}/events", json={"event": "a"}, headers=headers).status_code == 200
    assert bob.client.post(f"{API}/keys", json={"kind": "jetrack"} | about).status_code == 403
    own = bob.client.post(f"{API}/keys", json={"kind": "jcht"}).json()
    assert own["projectId"] is None, "of Bob's own account"
    # It reaches what Bob reaches.
    read = httpx.get(f"{world.url}{API}/events", params=about, headers={"X-API-Key": own["key"]})
    assert read.status_code == 200
    account_key = ann.client.post(f"{API}/keys", json={"kind": "jcht"}).json()
    assert bob.client.delete(f"{API}/keys/{account_key['id']}").status_code == 403


def test_viewer_sends_no_events(world: World, ann: Person, bob: Person) -> None:
    join(ann, bob, "viewer", ann.project.id)
    headers = bob.key(Scope.ADMIN)
    url = f"{world.url}{API}/events?projectId={ann.project.id}"
    assert httpx.get(url, headers=headers).status_code == 200
    assert httpx.post(url, json={"event": "a"}, headers=headers).status_code == 403
