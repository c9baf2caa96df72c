"""One running API for a module's tests, in which each of them has people of its own."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from schemas.projects import Dialect, Project, Scope
from storage.meta.initialisation import Initialised
from storage.meta.keys import KeySpec, create_key
from storage.meta.projects import find_project
from storage.meta.secrets import KEY_FORMATS
from tests.api.dialects.world import PASSWORD, World, serving

API = "/api/v1"
_numbers = itertools.count(1)


@dataclass(slots=True)
class Person:
    """Somebody with an account, a project, and a client that is logged in."""

    email: str
    first: Initialised
    client: httpx.Client
    world: World

    @property
    def project(self) -> Project:
        return self.first.project

    @property
    def id(self) -> str:
        return self.first.account.user_id

    def key(
        self, scope: Scope = Scope.ADMIN, *, project: int | None = None, dialect: Dialect = Dialect.JCHT
    ) -> dict[str, str]:
        """Headers with a fresh key of the account."""
        spec = KeySpec(self.first.account.id, dialect, scope, project)
        return {"X-API-Key": create_key(self.world.services.database, spec, datetime.now(UTC)).secret}

    def stored(self) -> Project | None:
        return find_project(self.world.services.database, "id", self.project.id)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("accounts"), rate_limits=False) as world:
        yield world


@pytest.fixture
def ann(world: World) -> Iterator[Person]:
    yield from someone(world)


@pytest.fixture
def bob(world: World) -> Iterator[Person]:
    yield from someone(world)


def someone(world: World) -> Iterator[Person]:
    """A new person."""
    number = next(_numbers)
    email = f"person-{number}@example.org"
    first = world.another(email, f"Shop {number}", f"shop-{number}.example")
    with httpx.Client(base_url=world.url, timeout=30) as client:
        client.headers["Authorization"] = f"Bearer {log_in(world, email)['token']}"
        yield Person(email, first, client, world)


def log_in(world: World, email: str, password: str = PASSWORD) -> dict[str, Any]:
    """What a login answers; its cookie is not kept."""
    answer = httpx.post(f"{world.url}{API}/auth/session", json={"email": email, "password": password})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def problem(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, code and message of an error."""
    body = answer.json()
    assert set(body) == {"error", "message"}
    return answer.status_code, body["error"], body["message"]


def parsed(text: str) -> datetime:
    return datetime.fromisoformat(text)


SOON = timedelta(seconds=30)
FORMATS = KEY_FORMATS
