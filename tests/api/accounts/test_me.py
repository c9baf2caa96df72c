"""Profiles and logins."""

from typing import Any

import httpx
import pytest

from api.routes.me import device_name
from tests.api.accounts.conftest import API, Person, log_in, problem
from tests.api.dialects.world import PASSWORD, World

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CHROME = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36"


def test_profile_is_shown_and_changed(ann: Person) -> None:
    shown = ann.client.get(f"{API}/me").json()
    assert {"id", "email", "firstName", "lastName", "picture", "plan", "createdAt"} <= set(shown)
    assert (shown["id"], shown["email"], shown["plan"], shown["picture"]) == (ann.id, ann.email, "free", None)

    sent = {"firstName": "Ann", "lastName": "Lee", "picture": "https://img.example/ann.png"}
    changed = ann.client.patch(f"{API}/me", json=sent)
    assert (changed.status_code, changed.json()) == (200, shown | sent)
    assert ann.client.patch(f"{API}/me", json={"picture": None}).json() == shown | sent | {"picture": None}
    assert ann.client.get(f"{API}/auth/session").json()["name"] == "Ann Lee"


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"firstName": "x" * 256}, "A name is at most 255 printable characters"),
        ({"picture": "javascript:alert(1)"}, "The picture is an http(s) address of at most 2048 characters"),
        ({"email": "eve@example.org"}, "Invalid field: email"),
        ({"plan": "enterprise"}, "Invalid field: plan"),
        ({"password": "a better horse"}, "Missing required field: currentPassword"),
        ({"password": "short", "currentPassword": PASSWORD}, "The password needs 8 to 1024 characters"),
    ],
)
def test_impossible_changes(ann: Person, sent: dict[str, Any], message: str) -> None:
    assert problem(ann.client.patch(f"{API}/me", json=sent)) == (400, "bad_request", message)
    assert ann.client.get(f"{API}/me").json()["firstName"] == ""


def test_changed_password_ends_other_logins_only(world: World, ann: Person) -> None:
    other = {"Authorization": f"Bearer {log_in(world, ann.email)['token']}"}
    wrong = ann.client.patch(f"{API}/me", json={"password": "a better horse", "currentPassword": "guess"})
    assert problem(wrong) == (403, "forbidden", "Wrong current password")
    assert httpx.get(f"{world.url}{API}/me", headers=other).status_code == 200

    right = ann.client.patch(f"{API}/me", json={"password": "a better horse", "currentPassword": PASSWORD})
    assert right.status_code == 200
    assert ann.client.get(f"{API}/me").status_code == 200
    assert httpx.get(f"{world.url}{API}/me", headers=other).status_code == 401
    log_in(world, ann.email, "a better horse")


def test_logins_are_listed_and_ended(world: World, ann: Person) -> None:
    pair = {"email": ann.email, "password": PASSWORD}
    answer = httpx.post(f"{world.url}{API}/auth/session", json=pair, headers={"User-Agent": FIREFOX})
    other = {"Authorization": f"Bearer {answer.json()['token']}"}
    listed = ann.client.get(f"{API}/me/logins").json()
    assert listed["meta"] == {"total": 2, "limit": 100, "hasMore": False, "nextCursor": None}
    named = {login["device"]: login for login in listed["data"]}
    firefox = named["Firefox on Linux"]
    assert firefox["current"] is False
    assert firefox["ipMasked"] == "127.0.*.*"
    assert [login["current"] for login in listed["data"]].count(True) == 1

    assert ann.client.delete(f"{API}/me/logins/{firefox['id']}").status_code == 204
    assert httpx.get(f"{world.url}{API}/me", headers=other).status_code == 401
    assert ann.client.delete(f"{API}/me/logins/{firefox['id']}").status_code == 404
    for _ in range(2):
        log_in(world, ann.email)
    assert ann.client.delete(f"{API}/me/logins").status_code == 204
    assert [login["current"] for login in ann.client.get(f"{API}/me/logins").json()["data"]] == [True]


def test_key_changes_names_and_no_password(world: World, ann: Person) -> None:
    url = f"{world.url}{API}/me"
    assert httpx.patch(url, json={"firstName": "Ann"}, headers=ann.key()).status_code == 200
    sent = {"password": "a better horse", "currentPassword": PASSWORD}
    assert httpx.patch(url, json=sent, headers=ann.key()).status_code == 403
    assert httpx.patch(url, json={"firstName": "Eve"}, headers=ann.key(project=ann.project.id)).status_code == 403


@pytest.mark.parametrize(
    ("agent", "name"),
    [(FIREFOX, "Firefox on Linux"), (CHROME, "Chrome on macOS"), ("curl/8.5.0", "curl"), ("", "Unknown")],
)
def test_devices_have_names(agent: str, name: str) -> None:
    assert device_name(agent) == name
