"""Erasure from the request to the receipt, over HTTP and a real lake; and profiles, which are events."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.erasing import erase_due, eraser, forget_old, forgetter
from schemas.erasures import Erasure
from schemas.projects import ProjectSettings
from storage.errors import Unavailable
from storage.maintenance.erasure import Receipt
from storage.meta.activities import COMMAND_LINE
from storage.meta.projects import ProjectChange, delete_project, projects_to_purge, update_project
from tests.api.dialects.world import World, serving
from tests.factories import event_row

NOW = datetime.now(UTC)


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    # What is due is carried out when the test says so.
    monkeypatch.setattr("api.erasing.LOOK_SECONDS", 3600.0)
    with serving(tmp_path_factory.mktemp("erasing"), rate_limits="off") as found:
        yield found


def _call(world: World, method: str, path: str, key: str = "jcht", **more: Any) -> httpx.Response:
    return world.client.request(method, f"/api/v1{path}", headers={"X-API-Key": world.secret(key)}, **more)


def _erase(world: World) -> None:
    erase_due(world.services.things, eraser(world.services.settings), datetime.now(UTC))


def test_a_person_goes_under_all_ids_and_a_receipt_stays(world: World) -> None:
    number, past = world.project.id, NOW - timedelta(days=1)
    world.append([event_row(past, person, project=number) for person in ("anon", "ann", "bob")])
    assert _call(world, "POST", "/users/ann/aliases", json={"alias": "anon"}).status_code == 201
    assert _call(world, "PATCH", "/users/ann", json={"set": {"plan": "pro"}}).status_code == 202
    assert len(world.flow()) == 2
    found = _call(world, "GET", "/users/anon").json()
    assert (found["userId"], found["properties"], found["eventCount"]) == ("ann", {"plan": "pro"}, 2)

    job = _call(world, "DELETE", "/users/anon")
    assert job.status_code == 202
    path = f"/erasures/{job.json()['jobId']}"
    assert _call(world, "GET", path).json()["status"] == "pending"
    _erase(world)

    receipt = _call(world, "GET", path).json()
    assert receipt["status"] == "done"
    events = [table for one in receipt["receipts"] for table in one["tables"] if table["table"] == "events"]
    assert sum(table["rowsBefore"] for table in events) == 4
    assert all(table["rowsAfter"] == 0 for table in events)
    assert _call(world, "GET", "/users/anon").status_code == 404
    assert [user["userId"] for user in _call(world, "GET", "/users").json()["data"]] == ["bob"]
    kept = world.services.things.everywhere(Erasure)
    assert all(job.body.ids == () for job in kept)
    log = _call(world, "GET", "/activity").text
    assert "erasure.created" in log
    assert "anon" not in log


def test_cohorly_erases_too(world: World) -> None:
    world.append([event_row(NOW - timedelta(days=1), "ann", project=world.project.id)])
    bearer = {"Authorization": f"Bearer {world.secret('cohorly')}"}
    answer = world.client.delete("/api/privacy/subjects/ann", headers=bearer)
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    _erase(world)
    assert world.client.get("/api/users/ann", headers=bearer).status_code == 404
    assert world.client.delete("/api/privacy/subjects/ann").status_code == 401


def test_a_project_whose_time_in_the_trash_is_over_is_lost(world: World) -> None:
    other = world.another(project="Old", domain="old.example").project
    world.append([event_row(NOW - timedelta(days=1), "ann", project=number) for number in (other.id, world.project.id)])
    database = world.services.database
    delete_project(database, other.id, COMMAND_LINE, NOW - timedelta(days=9), keep=timedelta(days=10))
    _erase(world)
    assert projects_to_purge(database, NOW + timedelta(days=2)) == [other.id]
    erase_due(world.services.things, eraser(world.services.settings), NOW + timedelta(days=2))
    assert projects_to_purge(database, NOW + timedelta(days=2)) == []
    assert _call(world, "GET", "/events", params={"from": "2020-01-01"}).json()["meta"]["total"] == 1


def test_what_fails_stays_due(world: World) -> None:
    world.append([event_row(NOW - timedelta(days=1), "ann", project=world.project.id)])
    path = f"/erasures/{_call(world, 'DELETE', '/users/ann').json()['jobId']}"

    def busy(project: int, distinct_id: str | None, now: datetime) -> Receipt:
        raise Unavailable("others kept writing")

    with pytest.raises(Unavailable):
        erase_due(world.services.things, busy, NOW)
    assert _call(world, "GET", path).json()["status"] == "pending"
    _erase(world)
    assert _call(world, "GET", path).json()["status"] == "done"


def test_who_may_and_what_is_told(world: World) -> None:
    for method, path, body in (
        ("DELETE", "/users/ann", None),
        ("PATCH", "/users/ann", {"set": {"a": 1}}),
        ("POST", "/users/ann/aliases", {"alias": "b"}),
        ("GET", "/erasures/job_1", None),
    ):
        assert _call(world, method, path, "read", json=body).status_code == 403
    assert _call(world, "GET", "/erasures/job_nobody").status_code == 404
    wrong: list[tuple[str, str, Any, str]] = [
        ("PATCH", "/users/ann", {}, "Missing required field: set"),
        ("PATCH", "/users/ann", {"set": 7}, "Invalid field: set"),
        ("PATCH", "/users/ann", {"add": {"a": "x"}}, "Invalid field: add"),
        ("POST", "/users/ann/aliases", {}, "Missing required field: alias"),
        ("POST", "/users/ann/aliases", {"alias": 7}, "Invalid field: alias"),
    ]
    for method, path, sent, message in wrong:
        answer = _call(world, method, path, json=sent)
        assert (answer.status_code, answer.json()["message"]) == (400, message)
    other = world.another("eve@example.org", "Other", "other.example")
    eve = {"X-API-Key": other.secrets["jcht"]}
    job = _call(world, "DELETE", "/users/ann").json()["jobId"]
    assert world.client.get(f"/api/v1/erasures/{job}", headers=eve).status_code == 404


def test_a_project_keeps_the_days_it_says(world: World) -> None:
    number = world.project.id
    other = world.another(project="Other", domain="other.example").project
    world.append(
        [
            event_row(NOW - timedelta(days=days), f"u{days}", project=project)
            for days in (40, 20, 2)
            for project in (number, other.id)
        ]
    )
    change = ProjectChange(settings=ProjectSettings(retention_days=30))
    update_project(world.services.database, number, change, COMMAND_LINE, NOW)
    done: dict[int, datetime] = {}

    forget_old(world.services.database, forgetter(world.services.settings), datetime.now(UTC), done)

    span = {"from": (NOW - timedelta(days=50)).date().isoformat(), "to": NOW.date().isoformat()}
    assert _call(world, "GET", "/overview", params=span).json()["metrics"]["events"] == 2
    assert list(done) == [number]

    def never(*_: Any) -> int:
        raise AssertionError("looked at twice a day")

    forget_old(world.services.database, never, datetime.now(UTC), done)


def test_an_alias_is_taken_back_and_nobody_is_erased_by_a_path(world: World) -> None:
    past = NOW - timedelta(days=1)
    world.append([event_row(past, person, project=world.project.id) for person in ("anon/1", "ann")])
    assert _call(world, "POST", "/users/ann/aliases", json={"alias": "anon/1"}).status_code == 201
    world.flow()
    assert _call(world, "GET", "/users/anon%2F1").json()["userId"] == "ann"

    undone = _call(world, "DELETE", "/users/ann/aliases/anon%2F1")
    assert undone.status_code == 202
    world.flow()
    assert _call(world, "GET", "/users/anon%2F1").json()["userId"] == "anon/1"

    for path in ("/users/ann/aliases", "/users/ann/events", "/users/anon/1", "/users/ann/aliases/"):
        assert _call(world, "DELETE", path).status_code == 404, path
    assert _call(world, "DELETE", "/users/anon%2F1").status_code == 202
    _erase(world)
    assert [user["userId"] for user in _call(world, "GET", "/users").json()["data"]] == ["ann"]


def test_a_project_whose_lake_gives_no_turn_holds_up_no_other(world: World) -> None:
    other = world.another(project="Other", domain="other.example").project
    for number in (world.project.id, other.id):
        change = ProjectChange(settings=ProjectSettings(retention_days=30))
        update_project(world.services.database, number, change, COMMAND_LINE, NOW)
    asked: list[int] = []

    def refuses_first(project: int, *_: Any) -> int:
        asked.append(project)
        if len(asked) == 1:
            raise Unavailable("others kept writing")
        return 0

    done: dict[int, datetime] = {}
    with pytest.raises(Unavailable):
        forget_old(world.services.database, refuses_first, NOW, done)
    assert asked == [world.project.id, other.id]
    forget_old(world.services.database, refuses_first, NOW, done)
    assert asked == [world.project.id, other.id, world.project.id]
