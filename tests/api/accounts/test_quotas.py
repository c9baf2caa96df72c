"""What a plan allows: made up to the number, refused beyond it on every surface, in the same words."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from storage.meta.accounts import set_terms
from tests.api.accounts.conftest import API, Person, problem, someone
from tests.api.dialects.world import World, serving
from tests.factories import event_row

GOAL = {"name": "G", "type": "event", "event": "signup"}
QUOTAS = {"free": {"sites": 2, "keys": 8, "goals": 1, "alerts": 0, "team": 2, "events": 10}}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("quotas"), plan_quotas=json.dumps(QUOTAS)) as world:
        yield world


@pytest.fixture
def ann(world: World) -> Iterator[Person]:
    yield from someone(world)


def make(person: Person, path: str, **body: Any) -> httpx.Response:
    return person.client.post(f"{API}{path}", params={"projectId": person.project.id}, json=body)


def test_one_more_than_the_plan_allows_is_refused(ann: Person) -> None:
    made = make(ann, "/goals", **GOAL)
    assert made.status_code == 201
    refused = make(ann, "/goals", **GOAL)
    assert problem(refused) == (403, "forbidden", "Goal limit reached. Upgrade to create more goals.")
    # Room is counted over all projects of the account, and comes back.
    second = ann.client.post(f"{API}/projects", json={"name": "Second", "domain": "second.example"})
    assert second.status_code == 201, second.text
    elsewhere = ann.client.post(f"{API}/goals", params={"projectId": second.json()["id"]}, json=GOAL)
    assert elsewhere.status_code == 403
    third = ann.client.post(f"{API}/projects", json={"name": "Third", "domain": "third.example"})
    assert problem(third)[2] == "Site limit reached. Upgrade to create more sites."
    gone = ann.client.delete(f"{API}/goals/{made.json()['id']}", params={"projectId": ann.project.id})
    assert gone.status_code == 204
    assert make(ann, "/goals", **GOAL).status_code == 201
    # What is not named in the quotas has none.
    assert make(ann, "/annotations", date="2026-02-15", title="A").status_code == 201


def test_keys_and_members(ann: Person) -> None:
    answers = [make(ann, "/keys", kind="jcht", name=f"k{number}") for number in range(7)]
    assert answers[0].status_code == 201, answers[0].text
    assert problem(answers[-1])[2] == "API key limit reached. Upgrade to create more keys."
    first = answers[0].json()["id"]
    assert ann.client.post(f"{API}/keys/{first}/regenerate").status_code == 201, "one for one"
    body = {"role": "viewer"}
    assert make(ann, "/invites", email="one@example.org", **body).status_code == 201
    assert make(ann, "/invites", email="one@example.org", **body).status_code == 201, "the same one again"
    two = make(ann, "/invites", email="two@example.org", **body)
    assert problem(two)[2] == "Team member limit reached. Upgrade to create more team members."


def test_a_larger_plan_has_more_room(ann: Person, world: World) -> None:
    set_terms(world.services.database, ann.first.account.id, "enterprise", None)
    assert [make(ann, "/goals", **GOAL).status_code for _ in range(3)] == [201] * 3


def test_zta_has_the_same_words_in_its_own_form(ann: Person) -> None:
    headers = {"Authorization": f"Bearer {ann.first.secrets['zta']}"}
    body: dict[str, Any] = {"siteId": ann.project.site_id, "name": "A", "type": "threshold", "metric": "pageviews"}
    body |= {"operator": ">", "threshold": 3, "period": "1h", "notifications": ["email"]}
    refused = httpx.post(f"{ann.world.url}/api/alerts", headers=headers, json=body)
    assert refused.status_code == 403, refused.text
    assert refused.json() == {"error": "Alert limit reached. Upgrade to create more alerts."}


def test_limits_are_told_and_events_are_not_refused(ann: Person, world: World) -> None:
    world.append([event_row(datetime.now(UTC), f"u{n}", "page_view", project=ann.project.id) for n in range(12)])
    assert ann.client.get(f"{API}/usage").json()["events"] == {"used": 12, "limit": 10}
    headers = {"Authorization": f"Bearer {ann.first.secrets['jetrack']}"}
    told = httpx.get(f"{world.url}/api/v1/account/usage", headers=headers).json()["data"]
    assert told["websites"] == {"used": 1, "limit": 2}
    sent = httpx.post(f"{world.url}{API}/events", headers={"X-API-Key": ann.first.secrets["jcht"]}, json={"event": "a"})
    assert sent.status_code == 200
