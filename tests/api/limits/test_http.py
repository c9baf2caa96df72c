"""Limits as callers of the native surface meet them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from schemas.projects import Dialect, Scope
from storage.meta.accounts import set_terms
from storage.meta.keys import KeySpec, create_key
from tests.api.dialects.world import EMAIL, PASSWORD, World, serving

API = "/api/v1"
LIMITS: dict[str, Any] = {"limit_native": "5/600", "limit_native_ingest": "4/600", "limit_realtime": "8/600"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("limits"), **LIMITS) as world:
        world.services.live.is_complete = True  # as after the live topic was read
        yield world


@pytest.fixture
def client(world: World) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=world.url, headers=fresh_key(world)) as client:
        yield client


def fresh_key(world: World, scope: Scope = Scope.ADMIN, limit: str | None = None) -> dict[str, str]:
    spec = KeySpec(world.first.account.id, Dialect.JCHT, scope, world.project.id, rate_limit=limit)
    return {"X-API-Key": create_key(world.services.database, spec, datetime.now(UTC)).secret}


def refused(answer: httpx.Response) -> None:
    assert answer.status_code == 429
    assert answer.json()["error"] == "rate_limited"
    assert 1 <= int(answer.headers["retry-after"]) <= 600
    assert answer.headers["x-ratelimit-remaining"] == "0"
    assert answer.headers["access-control-allow-origin"] == "*"


def test_one_more_than_the_limit_is_refused_and_told(client: httpx.Client) -> None:
    left = []
    for _ in range(5):
        answer = client.get(f"{API}/me")
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-limit"] == "5"
        assert abs(int(answer.headers["x-ratelimit-reset"]) - datetime.now(UTC).timestamp() - 600) < 30
        left.append(answer.headers["x-ratelimit-remaining"])
        assert "retry-after" not in answer.headers
    assert left == ["4", "3", "2", "1", "0"]
    refused(client.get(f"{API}/me"))
    refused(client.get(f"{API}/events"))
    refused(client.patch(f"{API}/me", content=b"{"))
    assert client.options(f"{API}/me").status_code == 204, "preflights are unlimited"
    assert client.get(f"{API}/nothing").status_code == 404, "and what is no route"


def test_other_keys_and_nobody_are_apart(world: World, client: httpx.Client) -> None:
    for _ in range(5):
        client.get(f"{API}/me")
    refused(client.get(f"{API}/me"))
    assert httpx.get(f"{world.url}{API}/me", headers=fresh_key(world)).status_code == 200
    for _ in range(7):
        assert httpx.get(f"{world.url}{API}/me", headers={"X-API-Key": "sg_guess"}).status_code == 401


def test_what_fails_counts_too(client: httpx.Client) -> None:
    for _ in range(5):
        assert client.get(f"{API}/projects/999999").status_code == 404
    refused(client.get(f"{API}/me"))


def test_sending_events_has_a_limit_of_its_own(client: httpx.Client) -> None:
    events = [{"event": "a"}] * 50
    for _ in range(3):
        answer = client.post(f"{API}/events/batch", json=events)
        assert (answer.status_code, answer.headers["x-ratelimit-limit"]) == (200, "4")
    bad = client.post(f"{API}/events", content=b"{")
    assert (bad.status_code, bad.headers["x-ratelimit-remaining"]) == (400, "0")
    refused(client.post(f"{API}/events", json={"event": "a"}))
    refused(client.post(f"{API}/events", content=b"{"))
    assert client.get(f"{API}/me").status_code == 200


def test_refused_events_are_not_kept(world: World, client: httpx.Client) -> None:
    world.flow()
    for _ in range(6):
        client.post(f"{API}/events", json={"event": "a"})
    assert len(world.flow()) == 4


def test_live_figures_have_a_limit_of_their_own(client: httpx.Client) -> None:
    statuses = [client.get(f"{API}/realtime") for _ in range(9)]
    refused(statuses[-1])
    assert {answer.headers["x-ratelimit-limit"] for answer in statuses} == {"8"}
    refused(client.get(f"{API}/realtime/stream"))
    assert client.get(f"{API}/me").status_code == 200


def test_polls_that_find_nothing_new_count_with_live_figures(client: httpx.Client) -> None:
    params = {"from": "2026-01-01", "to": "2026-01-02"}
    first = client.get(f"{API}/events", params=params)
    held = {"If-None-Match": first.headers["etag"]}
    for _ in range(8):
        assert client.get(f"{API}/events", params=params, headers=held).status_code == 304
    refused(client.get(f"{API}/events", params=params, headers=held))
    answer = client.get(f"{API}/me")
    assert (answer.status_code, answer.headers["x-ratelimit-remaining"]) == (200, "3")


def test_an_etag_opens_no_second_door(client: httpx.Client) -> None:
    """A poll that is answered anew counts as any other."""
    for _ in range(5):
        assert client.get(f"{API}/events", headers={"If-None-Match": '"none"'}).status_code == 200
    refused(client.get(f"{API}/events", headers={"If-None-Match": '"none"'}))


def test_key_overrides(world: World) -> None:
    headers = fresh_key(world, limit="2/600")
    url = f"{world.url}{API}/me"
    assert [httpx.get(url, headers=headers).status_code for _ in range(3)] == [200, 200, 429]
    headers = fresh_key(world, limit="0")
    answers = [httpx.get(url, headers=headers) for _ in range(7)]
    assert {answer.status_code for answer in answers} == {200}
    assert "x-ratelimit-limit" not in answers[0].headers


def test_account_overrides_for_its_keys(world: World) -> None:
    other = world.another("limited@example.org", "Limited", "limited.example")
    headers = {"X-API-Key": other.secrets["jcht"]}
    url = f"{world.url}{API}/me"
    assert httpx.get(url, headers=headers).headers["x-ratelimit-limit"] == "5"
    set_terms(world.services.database, other.account.id, "pro", "3/600")
    assert httpx.get(url, headers=headers).headers["x-ratelimit-limit"] == "3"
    assert httpx.get(url, headers=headers).json()["plan"] == "pro"


def test_eleventh_failed_login_is_refused_even_with_the_password(world: World) -> None:
    email = "guessed@example.org"
    world.another(email, "Guessed", "guessed.example")

    def status(password: str, name: str = email) -> int:
        sent = {"email": name, "password": password}
        return httpx.post(f"{world.url}{API}/auth/session", json=sent).status_code

    assert [status(PASSWORD) for _ in range(12)] == [201] * 12, "only failures count"
    assert [status("wrong") for _ in range(9)] + [status(PASSWORD)] == [401] * 9 + [201]
    assert [status("wrong") for _ in range(11)] == [401] * 10 + [429]
    assert status(PASSWORD) == 429
    assert status(PASSWORD, email.upper()) == 429
    assert status(PASSWORD, EMAIL) == 201


def test_resets_are_limited(world: World) -> None:
    url = f"{world.url}{API}/auth/password"
    guesses = [httpx.post(f"{url}/reset", json={"token": "x", "password": "long enough"}) for _ in range(11)]
    assert [answer.status_code for answer in guesses] == [400] * 10 + [429]
    asked = [httpx.post(f"{url}/forgot", json={"email": "nobody@example.org"}) for _ in range(11)]
    assert [answer.status_code for answer in asked] == [202] * 10 + [429]
