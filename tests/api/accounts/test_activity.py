"""The log of changes, and usage."""

import csv
import io
from datetime import UTC, datetime

import httpx
import pytest

from api.analytics.totals import month_of
from schemas.projects import Scope
from tests.api.accounts.conftest import API, Person
from tests.api.dialects.world import World


def actions(person: Person, **params: str) -> list[str]:
    answer = person.client.get(f"{API}/activity", params=params)
    assert answer.status_code == 200, answer.text
    return [item["action"] for item in answer.json()["data"]]


def test_changes_are_told_with_who_and_from_where(ann: Person) -> None:
    made = ann.client.post(f"{API}/projects", json={"name": "Blog"}, headers={"User-Agent": "Test/1"}).json()
    ann.client.patch(f"{API}/projects/{made['id']}", json={"public": True})
    answer = ann.client.get(f"{API}/activity", params={"type": "site", "limit": "2"}).json()
    updated, created = answer["data"]
    assert updated["metadata"] == {"changed": ["public"]}
    assert created["id"].startswith("activity_")
    assert {key: created[key] for key in created if key not in ("id", "timestamp")} == {
        "type": "site",
        "action": "site.created",
        "actor": {"id": ann.id, "email": ann.email, "name": ""},
        "keyId": None,
        "projectId": made["id"],
        "target": {"type": "site", "id": made["siteId"], "name": "Blog"},
        "metadata": {},
        "ipMasked": "127.0.*.*",
        "userAgent": "Test/1",
    }


def test_every_kind_of_change_is_there(world: World, ann: Person) -> None:
    blog = ann.client.post(f"{API}/projects", json={"name": "Blog"}).json()["id"]
    ann.client.post(f"{API}/projects/{blog}/token")
    ann.client.delete(f"{API}/projects/{blog}")
    ann.client.post(f"{API}/projects/{blog}/restore")
    key = ann.client.post(f"{API}/keys", json={"kind": "jcht"}).json()
    by_key = {"X-API-Key": key["key"]}
    httpx.patch(f"{world.url}{API}/me", json={"firstName": "Ann"}, headers=by_key)
    ann.client.patch(f"{API}/keys/{key['id']}", json={"name": "x"})
    fresh = ann.client.post(f"{API}/keys/{key['id']}/regenerate").json()
    ann.client.delete(f"{API}/keys/{fresh['id']}")
    ann.client.post(f"{API}/invites", json={"email": "x@example.org", "role": "viewer"})
    found = actions(ann, limit="10")
    assert found == [
        "team.invited",
        "api_key.revoked",
        "api_key.rotated",
        "api_key.updated",
        "settings.profile_updated",
        "api_key.created",
        "site.restored",
        "site.deleted",
        "site.token_rotated",
        "site.created",
    ]
    everything = actions(ann)
    assert everything[-1] == "auth.account_created"
    assert "auth.login" in everything
    [renamed] = ann.client.get(f"{API}/activity", params={"action": "settings.profile_updated"}).json()["data"]
    assert renamed["keyId"] == key["id"]


def test_filters(ann: Person, bob: Person) -> None:
    blog = ann.client.post(f"{API}/projects", json={"name": "Blog"}).json()
    assert actions(ann, projectId=blog["siteId"]) == ["site.created"]
    assert actions(ann, type="api_key", userId=ann.id) == []
    assert set(actions(ann, type="api_key")) == {"api_key.created"}
    assert actions(ann, action="site.created", userId=ann.id) == ["site.created"]
    assert actions(ann, userId=bob.id) == []
    assert actions(ann, to="2020-01-01", **{"from": "2019-01-01"}) == []
    assert "site.created" in actions(ann, **{"from": datetime.now(UTC).date().isoformat()})


@pytest.mark.parametrize(
    "params", [{"limit": "x"}, {"from": "x"}, {"cursor": "x"}, {"format": "xml"}, {"type": "\0"}, {"action": "a" * 65}]
)
def test_impossible_parameters(ann: Person, params: dict[str, str]) -> None:
    assert ann.client.get(f"{API}/activity", params=params).status_code == 400


def test_pages_meet_every_line_once_while_more_come(ann: Person) -> None:
    everything = [item["id"] for item in ann.client.get(f"{API}/activity").json()["data"]]
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = ann.client.get(f"{API}/activity", params=params).json()
        seen += [item["id"] for item in page["data"]]
        cursor = page["meta"]["nextCursor"]
        assert page["meta"]["hasMore"] is (cursor is not None)
        if cursor is None:
            break
        ann.client.post(f"{API}/keys", json={"kind": "jcht"})
    assert seen == everything


def test_export_has_all_lines_and_no_formulas(ann: Person) -> None:
    ann.client.post(f"{API}/projects", json={"name": "Blog"}, headers={"User-Agent": '=HYPERLINK("x")'})
    answer = ann.client.get(f"{API}/activity", params={"format": "csv", "limit": "1"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="activity.csv"'
    head, first, *rest = csv.reader(io.StringIO(answer.text))
    assert head[:3] == ["Timestamp", "Type", "Action"]
    assert first[1:4] == ["site", "site.created", ann.email]
    assert first[-1] == '\'=HYPERLINK("x")'
    assert len(rest) + 1 == ann.client.get(f"{API}/activity").json()["meta"]["total"]


def test_usage_counts_this_month_of_all_projects(world: World, ann: Person) -> None:
    other = world.another(ann.email, "Second", "second.example").project
    for project, names in ((ann.project, ("a", "page_view")), (other, ("page_view",))):
        key = ann.key(Scope.INGEST, project=project.id)
        for name in names:
            assert httpx.post(f"{world.url}{API}/events", json={"event": name}, headers=key).status_code == 200
    world.flow()
    usage = ann.client.get(f"{API}/usage").json()
    assert set(usage["period"]) == {"start", "end"}
    assert {name: usage[name] for name in ("events", "pageviews", "projects")} == {
        "events": {"used": 3, "limit": None},
        "pageviews": 2,
        "projects": 2,
    }
    narrow = httpx.get(f"{world.url}{API}/usage", headers=ann.key(project=other.id)).json()
    assert (narrow["events"]["used"], narrow["projects"]) == (1, 1)


def test_months_of_a_year() -> None:
    for month in range(1, 13):
        span = month_of(datetime(2026, month, 28, 12, tzinfo=UTC))
        assert span.start == datetime(2026, month, 1, tzinfo=UTC)
        assert span.end == datetime(2026 + month // 12, month % 12 + 1, 1, tzinfo=UTC)
