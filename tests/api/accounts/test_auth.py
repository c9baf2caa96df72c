"""Logging in and out, and forgotten passwords."""

import base64
import json
import logging
import re
from datetime import UTC, datetime, timedelta

import httpx
import jwt
import pytest

from schemas.projects import Dialect
from storage.meta.accounts import find_account
from storage.meta.activities import Actor
from storage.meta.logins import open_login
from tests.api.accounts.conftest import API, SOON, Person, log_in, parsed, problem
from tests.api.dialects.world import PASSWORD, World
from tests.api.serving import wait_until


def test_login_answers_a_token_that_opens_the_surface(world: World, ann: Person) -> None:
    answer = httpx.post(f"{world.url}{API}/auth/session", json={"email": f" {ann.email.upper()}", "password": PASSWORD})

    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert set(body) == {"token", "expiresAt", "account"}
    assert body["account"] == {"id": ann.id, "email": ann.email, "name": ""}
    assert abs(parsed(body["expiresAt"]) - datetime.now(UTC) - timedelta(days=7)) < SOON
    bearer = {"Authorization": f"Bearer {body['token']}"}
    me = httpx.get(f"{world.url}{API}/auth/session", headers=bearer)
    assert (me.status_code, me.json()) == (200, body["account"])
    events = httpx.get(f"{world.url}{API}/events", params={"projectId": ann.project.site_id}, headers=bearer)
    assert events.status_code == 200


def test_token_says_what_the_contract_asks(world: World, ann: Person) -> None:
    token = log_in(world, ann.email)["token"]
    header, claims = (json.loads(_decoded(part)) for part in token.split(".")[:2])
    assert header == {"alg": "HS256", "typ": "JWT"}
    assert claims["exp"] - claims["iat"] == 7 * 86_400
    assert (claims["aud"], claims["iss"], claims["sub"]) == ("jcht", "streamgauge", ann.id)
    assert re.fullmatch(r"sess_[0-9A-Za-z]{12}", claims["jti"])
    assert set(claims) == {"iss", "sub", "aud", "iat", "nbf", "exp", "jti"}


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_cookie_of_a_login_opens_the_surface_and_is_closed_to_scripts(world: World, ann: Person) -> None:
    with httpx.Client(base_url=world.url) as browser:
        answer = browser.post(f"{API}/auth/session", json={"email": ann.email, "password": PASSWORD})
        cookie = answer.headers["set-cookie"]
        assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=604800"))
        assert "Secure" not in cookie
        assert browser.get(f"{API}/me").json()["email"] == ann.email
        # A page of another origin may read nothing with it (no credentials are allowed), and change nothing.
        foreign = browser.patch(f"{API}/me", json={"firstName": "Eve"}, headers={"Origin": "https://evil.example"})
        assert problem(foreign) == (403, "forbidden", "Pages of another origin may not do this")
        own = browser.patch(f"{API}/me", json={"firstName": "Ann"}, headers={"Origin": world.url})
        assert own.status_code == 200
        assert browser.delete(f"{API}/auth/session").status_code == 204
        assert browser.cookies.get("streamgauge_session") is None


def test_cookie_behind_https_is_secure_and_no_foreign_page_gets_one(world: World, ann: Person) -> None:
    pair = {"email": ann.email, "password": PASSWORD}
    behind = httpx.post(f"{world.url}{API}/auth/session", json=pair, headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in behind.headers["set-cookie"]
    foreign = httpx.post(f"{world.url}{API}/auth/session", json=pair, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 201
    assert "set-cookie" not in foreign.headers


@pytest.mark.parametrize("password", ["", "wrong", PASSWORD + " "])
def test_wrong_pairs_are_told_alike(world: World, ann: Person, password: str) -> None:
    for email in (ann.email, "nobody@example.org", "no address", "\0"):
        answer = httpx.post(f"{world.url}{API}/auth/session", json={"email": email, "password": password})
        assert problem(answer) == (401, "unauthorized", "Invalid email or password")
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Malformed JSON"),
        (b"[]", "The body must be a JSON object"),
        (b'{"email": "a@b.example"}', "Missing required field: password"),
        (b'{"email": 1, "password": "x"}', "Invalid field: email"),
        (b'{"email": "a@b.example", "password": "x", "admin": true}', "Invalid field: admin"),
    ],
)
def test_impossible_bodies(world: World, body: bytes, message: str) -> None:
    assert problem(httpx.post(f"{world.url}{API}/auth/session", content=body)) == (400, "bad_request", message)


def test_logged_out_token_is_refused_at_once(world: World, ann: Person) -> None:
    bearer = {"Authorization": f"Bearer {log_in(world, ann.email)['token']}"}
    assert httpx.get(f"{world.url}{API}/me", headers=bearer).status_code == 200
    assert httpx.delete(f"{world.url}{API}/auth/session", headers=bearer).status_code == 204
    assert httpx.get(f"{world.url}{API}/me", headers=bearer).status_code == 401
    assert ann.client.get(f"{API}/me").status_code == 200, "other logins stay"


def test_forged_tokens_are_refused(world: World, ann: Person) -> None:
    good = log_in(world, ann.email)["token"]
    claims = jwt.decode(good, options={"verify_signature": False})
    header, payload, signature = good.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    forged = [
        f"{none}.{payload}.",
        f"{none}.{payload}.{signature}",
        f"{header}.{payload}.{signature[:-4]}AAAA",
        jwt.encode(claims, "another secret that is long enough for it", "HS256"),
        world.services.tokens.issue(_ended(world, ann), ann.id),
    ]
    for token in forged:
        answer = httpx.get(f"{world.url}{API}/me", headers={"Authorization": f"Bearer {token}"})
        assert problem(answer) == (401, "unauthorized", "Invalid or missing API key"), token


def _ended(world: World, ann: Person):  # type: ignore[no-untyped-def]  # a login that has expired
    long_ago = datetime.now(UTC) - timedelta(days=8)
    return open_login(world.services.database, ann.first.account.id, Dialect.JCHT, Actor(), long_ago)


def test_token_of_another_surface_is_unknown_here(world: World, ann: Person) -> None:
    login = open_login(world.services.database, ann.first.account.id, Dialect.ZTA, Actor(), datetime.now(UTC))
    bearer = {"Authorization": f"Bearer {world.services.tokens.issue(login, ann.id)}"}
    assert httpx.get(f"{world.url}{API}/me", headers=bearer).status_code == 401


def test_key_is_no_login(ann: Person, world: World) -> None:
    answer = httpx.delete(f"{world.url}{API}/auth/session", headers=ann.key())
    assert problem(answer) == (403, "forbidden", "A key is no login; revoke it at /keys")
    assert httpx.get(f"{world.url}{API}/auth/session", headers=ann.key()).json()["email"] == ann.email


def test_forgotten_password_is_set_anew_once(world: World, ann: Person, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    secret = _mailed(world, ann.email, caplog)
    body = {"token": secret, "password": "a better horse"}
    short = httpx.post(f"{world.url}{API}/auth/password/reset", json=body | {"password": "short"})
    assert problem(short) == (400, "bad_request", "Invalid field: password; the password needs 8 to 1024 characters")
    assert httpx.post(f"{world.url}{API}/auth/password/reset", json=body).status_code == 204

    assert ann.client.get(f"{API}/me").status_code == 401, "all logins ended"
    wrong = httpx.post(f"{world.url}{API}/auth/session", json={"email": ann.email, "password": PASSWORD})
    assert wrong.status_code == 401
    log_in(world, ann.email, "a better horse")
    again = httpx.post(f"{world.url}{API}/auth/password/reset", json=body)
    assert problem(again) == (400, "bad_request", "Invalid or expired reset link")
    found = find_account(world.services.database, ann.email)
    assert found is not None
    assert found.email_verified_at is not None


def test_forgetting_tells_nothing(world: World, ann: Person, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    answers = [
        httpx.post(f"{world.url}{API}/auth/password/forgot", json={"email": email})
        for email in ("nobody@example.org", "no address", ann.email)
    ]
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, b"")}
    wait_until(lambda: "the mail to" in caplog.text)
    assert caplog.text.count("the mail to") == 1


def _mailed(world: World, email: str, caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    assert httpx.post(f"{world.url}{API}/auth/password/forgot", json={"email": email}).status_code == 202
    wait_until(lambda: "/reset-password?token=" in caplog.text)
    found = re.search(r"/reset-password\?token=([\w-]+)", caplog.text)
    assert found is not None
    return found[1]
