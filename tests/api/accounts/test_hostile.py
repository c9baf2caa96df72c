"""Whatever is sent to the routes about accounts, the answer is never a fault of ours."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.accounts.conftest import API, Person, someone
from tests.api.dialects.world import World, serving
from tests.postgres import own_schema, postgres_server

__all__ = ["postgres_server"]

FIELDS = [
    "name",
    "domain",
    "timezone",
    "public",
    "settings",
    "kind",
    "scope",
    "projectId",
    "expiresInDays",
    "rateLimit",
    "email",
    "role",
    "message",
    "token",
    "password",
    "currentPassword",
    "firstName",
    "lastName",
    "picture",
]
ROUTES = [
    ("PATCH", "/me"),
    ("POST", "/projects"),
    ("PATCH", "/projects/{}"),
    ("DELETE", "/projects/{}"),
    ("GET", "/projects/{}"),
    ("POST", "/projects/{}/restore"),
    ("POST", "/projects/{}/token"),
    ("POST", "/keys"),
    ("PATCH", "/keys/{}"),
    ("DELETE", "/keys/{}"),
    ("POST", "/keys/{}/regenerate"),
    ("DELETE", "/me/logins/{}"),
    ("PATCH", "/members/{}"),
    ("DELETE", "/members/{}"),
    ("POST", "/invites"),
    ("DELETE", "/invites/{}"),
    ("POST", "/invites/accept"),
    ("POST", "/invites/decline"),
    ("POST", "/auth/session"),
    ("POST", "/auth/password/forgot"),
    ("POST", "/auth/password/reset"),
    ("GET", "/activity"),
    ("GET", "/keys"),
    ("GET", "/members"),
    ("GET", "/invites"),
]
TEXTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "",
            "\0",
            "a\0b",
            "' OR 1=1 --",
            "../../etc/passwd",
            "9" * 30,
            "-1",
            "٣",
            "key_\0",
            "site_" + "x" * 80,
            "sess_é",
            "user_%",
            "a@b.example",
            "UTC",
            "jcht",
            "admin",
            "1/60",
            "\u202e",
            "x" * 5000,
        ]
    ),
)
VALUES = st.one_of(
    TEXTS,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(TEXTS, max_size=3),
)
BODIES = st.one_of(
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6),
    st.fixed_dictionaries(
        {"name": TEXTS, "kind": st.just("jcht"), "email": st.just("x@y.example"), "role": st.just("viewer")}
    ),
)
PARAMETERS = ["projectId", "limit", "cursor", "from", "to", "type", "action", "userId", "format", "purge"]
QUERIES = st.dictionaries(st.sampled_from(PARAMETERS), TEXTS, max_size=3)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        chosen: dict[str, Any] = {"rate_limits": False}
        if request.param == "postgresql":
            chosen["database_url"] = stack.enter_context(own_schema(request.getfixturevalue("postgres_server")))
        yield stack.enter_context(serving(tmp_path_factory.mktemp("hostile"), **chosen))


@pytest.fixture(scope="module")
def mallory(world: World) -> Iterator[Person]:
    yield from someone(world)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(route=st.sampled_from(ROUTES), reference=TEXTS, body=BODIES, query=QUERIES)
def test_no_answer_is_a_fault(
    mallory: Person, route: tuple[str, str], reference: str, body: dict[str, Any], query: dict[str, str]
) -> None:
    method, path = route
    where = API + path.replace("{}", quote(reference[:100], safe="") or "-")
    answer = mallory.client.request(method, where, params=query, json=body if method in ("POST", "PATCH") else None)
    assert answer.status_code < 500, (method, where, body, query, answer.text)
    if answer.status_code >= 400:
        assert set(answer.json()) == {"error", "message"}
        assert "\n" not in answer.json()["message"]


@pytest.mark.parametrize("body", [b"", b"\xff", b"[" * 100_000, b'{"name": "\\ud800"}', b'{"name": 1e999}', b"null"])
def test_broken_bodies_are_the_senders(mallory: Person, body: bytes) -> None:
    for method, path in ROUTES:
        if method in ("POST", "PATCH"):
            answer = mallory.client.request(method, f"{API}{path.replace('{}', 'x')}", content=body)
            assert answer.status_code in (400, 404), (method, path, answer.text)


def test_large_bodies_are_refused(mallory: Person) -> None:
    for path in ("/projects", "/keys", "/auth/session"):
        answer = mallory.client.post(f"{API}{path}", content=b'{"name":"' + b"x" * 2_000_000 + b'"}')
        assert answer.status_code == 413


def test_many_headers_and_cookies_are_no_login(world: World) -> None:
    for cookie in ("streamgauge_session", "streamgauge_session=", 'streamgauge_session="', "streamgauge_session=a;;="):
        answer = httpx.get(f"{world.url}{API}/me", headers={"Cookie": cookie})
        assert answer.status_code == 401
    for bearer in ("x" * 1025, "e" * 1024, "ey.a.b", "ey" + "." * 1000):
        answer = httpx.get(f"{world.url}{API}/me", headers={"Authorization": f"Bearer {bearer}"})
        assert answer.status_code == 401
