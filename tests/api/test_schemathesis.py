"""The document is true: its examples are taken, and whatever it allows or forbids is answered as it says."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, BaseSchema, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok

from api.middleware import NATIVE_MOUNTS
from tests.api.dialects.world import EMAIL, PASSWORD, World, serving
from tests.factories import event_row

load_all_checks()
Operation: TypeAlias = APIOperation[Any, Any, Any, Any]
Case: TypeAlias = schemathesis.Case[Any]
CHOSEN = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")
JUDGED: list[Any] = CHECKS.get_by_names(list(CHOSEN))
MOUNT = NATIVE_MOUNTS[0]
# Of each operation, of what is allowed and of what is not, as each caller.
EXAMPLES = 4
CALLERS = ("key", "login")
# Answers without an end.
ENDLESS = ("/events/stream", "/realtime/stream")
# Their examples hold a password, or the secret of a mail; and nobody changes the owner's role.
UNTAKEN = (
    "POST /auth/session",
    "POST /auth/password/reset",
    "POST /invites/accept",
    "POST /invites/decline",
    "PATCH /members/{user_id}",
)


@dataclass
class Caller:
    """Sends requests as a key of the project or as who is logged in; knows one of each thing that there is."""

    world: World
    name: str
    session: requests.Session
    known: dict[tuple[str, str], str]
    succeeded: set[str] = field(default_factory=set)
    _token: str = ""

    def call(self, case: Case, *, is_known: bool) -> Any:
        """The answer to a case; about things that are there, if they are to be known."""
        if is_known:
            here = {name: self.known.get((_collection(case.path), name)) for name in case.path_parameters or ()}
            case.path_parameters.update({name: value for name, value in here.items() if value is not None})
        headers, params = self.credential()
        own = case.query or {}
        params = {name: value for name, value in params.items() if name not in own}
        answer = case.call(session=self.session, headers=headers, params=params, timeout=30)
        if answer.status_code < 300:
            self.succeeded.add(case.operation.label)
        if answer.status_code == 401:  # the case may have ended the login
            self._token = ""
        return answer

    def credential(self) -> tuple[dict[str, str], dict[str, str]]:
        """Headers and parameters that say who asks, about what."""
        if self.name == "key":
            return {"X-API-Key": self.world.secret("jcht")}, {}
        if not self._token:
            sent = {"email": EMAIL, "password": PASSWORD}
            self._token = self.world.client.post(f"{MOUNT}/auth/session", json=sent).raise_for_status().json()["token"]
        return {"Authorization": f"Bearer {self._token}"}, {"projectId": str(self.world.project.id)}

    def send_example(self, operation: Operation) -> httpx.Response:
        """The answer to the example of a request."""
        headers, params = self.credential()
        path = operation.path
        for name in re.findall(r"\{(\w+)\}", path):
            path = path.replace(f"{{{name}}}", self.known[_collection(path), name])
        return self.world.client.request(
            operation.method, path, headers=headers, params=params, json=_example(operation)
        )


def _collection(path: str) -> str:
    return path.removeprefix(MOUNT).split("/")[1]


def _example(operation: Operation) -> Any:
    raw: dict[str, Any] = operation.schema.raw_schema["paths"][operation.path][operation.method.lower()]
    return raw.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")


@pytest.fixture(scope="module", params=CALLERS)
def caller(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Caller]:
    """A caller in a world of its own."""
    with (
        serving(tmp_path_factory.mktemp("schemathesis"), rate_limits=False) as world,
        requests.Session() as session,
    ):
        about: dict[str, Any] = {"project": world.project.id, "properties": b'{"plan":"pro"}', "session": "s1"}
        world.append(
            [
                event_row("2026-02-22T10:00:00", "user-1", "page_view", **about),
                event_row("2026-02-22T10:01:00", "user-1", "signup", **about),
            ]
        )
        world.services.live.is_complete = True
        yield Caller(world, request.param, session, _there(world))


@pytest.fixture(scope="module")
def operations(caller: Caller) -> list[Operation]:
    """All that end; what takes something away comes last."""
    schema: BaseSchema = schemathesis.openapi.from_dict(caller.world.client.get("/openapi.json").json())
    schema.config.update(base_url=caller.world.url)
    schema.config.generation.update(with_security_parameters=False)  # the caller has a credential
    results = list(schema.get_all_operations())
    found = [result.ok() for result in results if isinstance(result, Ok)]
    assert len(found) == len(results)
    found = [one for one in found if one.path.removeprefix(MOUNT) not in ENDLESS]
    return sorted(found, key=lambda one: one.method.upper() == "DELETE")


@pytest.fixture(scope="module")
def examples(caller: Caller, operations: list[Operation]) -> dict[str, httpx.Response]:
    """The answers to the examples of all requests; the caller learns from them what there is."""
    login = replace(caller, name="login")
    found = {}
    for operation in operations:
        label = f"{operation.method.upper()} {operation.path.removeprefix(MOUNT)}"
        if _example(operation) is not None and label not in UNTAKEN:
            found[label] = login.send_example(operation)
            operation.validate_response(found[label])
            if found[label].status_code == 201:
                _learn(caller, operation.path, found[label].json(), operations)
    return found


def _there(world: World) -> dict[tuple[str, str], str]:
    """What a world begins with, by collection and parameter."""
    key = {"X-API-Key": world.secret("jcht")}
    asked = {"from": "2026-02-01", "to": "2026-02-28"}
    [_, event] = world.client.get(f"{MOUNT}/events", params=asked, headers=key).json()["data"]
    [visit] = world.client.get(f"{MOUNT}/sessions", params=asked, headers=key).json()["data"]
    job = world.client.delete(f"{MOUNT}/users/user-2", headers=key).json()["jobId"]
    # The project of the examples is to be another one.
    renamed = world.client.patch(f"{MOUNT}/projects/{world.project.id}", headers=key, json={"name": "First"})
    assert renamed.status_code == 200
    return {
        ("events", "event_id"): event["eventId"],
        ("events", "key"): "plan",
        ("sessions", "session_id"): visit["id"],
        ("users", "user_id"): "user-1",
        ("erasures", "job_id"): job,
    }


def _learn(caller: Caller, path: str, made: dict[str, Any], operations: list[Operation]) -> None:
    for operation in operations:
        if (found := re.match(rf"{re.escape(path)}/\{{(\w+)\}}", operation.path)) is not None:
            name = found[1]
            value = made.get(name, made.get("id"))
            caller.known.setdefault((_collection(path), name), str(value))


def test_every_example_of_a_request_is_taken(examples: dict[str, httpx.Response]) -> None:
    assert len(examples) > 30
    refused = {label: answer.text for label, answer in examples.items() if not answer.is_success}
    assert refused == {}


@pytest.mark.usefixtures("examples")
def test_everything_is_answered_as_the_document_says(
    caller: Caller, operations: list[Operation], subtests: pytest.Subtests
) -> None:
    for operation in operations:
        for mode in GenerationMode:
            with subtests.test(f"{mode.name} {operation.label}"):
                _judge(caller, operation, mode)
    # Else nothing but refusals was judged.
    assert len(caller.succeeded) > len(operations) * (0.7 if caller.name == "login" else 0.5)


def _judge(caller: Caller, operation: Operation, mode: GenerationMode) -> None:
    # Not by the library's own marks: they set what a test of this pytest no longer has.
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=operation.as_strategy(generation_mode=mode),
        is_known=st.sampled_from([True, True, True, False]),
        is_example=st.booleans(),
    )
    def answered(case: Case, is_known: bool, is_example: bool) -> None:
        if is_example and mode is GenerationMode.POSITIVE and _example(operation) is not None:
            case.body = _example(operation)
        case.validate_response(caller.call(case, is_known=is_known), checks=JUDGED)

    try:
        answered()
    except Unsatisfiable:  # an operation that takes nothing has nothing to forbid
        assert mode is GenerationMode.NEGATIVE
