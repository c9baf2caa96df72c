"""`GET /events` and `GET /events/{eventId}` as JCHT's clients see them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.answers import EventDetail
from storage.errors import Unavailable
from tests.api.routes.surface import surface
from tests.factories import LakeWriter, event_row

NOW = datetime.now(UTC)


def _hours_ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


@pytest.fixture
def writer(tmp_path: Path) -> LakeWriter:
    return LakeWriter(tmp_path / "lake")


def test_body_is_that_of_the_sample(writer: LakeWriter) -> None:
    sent = b'{"buttonId":"signup","page":"/pricing"}'
    at = "2026-02-22T10:30:00+00:00"
    writer.append([event_row(at, "user-123", "button_click", event_id="evt_a", properties=sent, source="sdk-web")])
    with surface(writer.place) as client:
        answer = client.get("/api/v1/events", params={"event": "button_click", "from": "2026-02-01", "limit": "10"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "data": [
            {
                "eventId": "evt_a",
                "event": "button_click",
                "properties": {"buttonId": "signup", "page": "/pricing"},
                "userId": "user-123",
                "timestamp": "2026-02-22T10:30:00Z",
                "source": "sdk-web",
            }
        ],
        "meta": {"total": 1, "limit": 10, "hasMore": False, "nextCursor": None},
    }
    assert answer.headers["streamgauge-accuracy"] == "exact"
    assert answer.headers["streamgauge-timezone"] == "UTC"


def test_default_is_thirty_days_and_a_hundred(writer: LakeWriter) -> None:
    ages = [*(hour / 10 for hour in range(150)), 29.9 * 24, 30.1 * 24, -2]
    writer.append([event_row(_hours_ago(age), event_id=f"{age}") for age in ages])
    with surface(writer.place) as client:
        answer = client.get("/api/v1/events").json()
    assert answer["meta"] | {"nextCursor": None} == {"total": 151, "limit": 100, "hasMore": True, "nextCursor": None}
    assert [item["eventId"] for item in answer["data"]] == [f"{hour / 10}" for hour in range(100)]


def test_pages_by_cursor_meet_every_row_once_while_events_come(writer: LakeWriter) -> None:
    writer.append([event_row(_hours_ago(1), event_id=f"{n}") for n in range(25)])
    seen: list[str] = []
    with surface(writer.place) as client:
        cursor: str | None = None
        while True:
            params = {"limit": "10"} | ({"cursor": cursor} if cursor else {})
            answer = client.get("/api/v1/events", params=params).json()
            seen += [item["eventId"] for item in answer["data"]]
            assert answer["meta"]["hasMore"] is (answer["meta"]["nextCursor"] is not None)
            if (cursor := answer["meta"]["nextCursor"]) is None:
                break
            writer.append([event_row(_hours_ago(0.5), event_id="new")])
    assert sorted(seen) == sorted(f"{n}" for n in range(25))


@pytest.mark.parametrize(("limit", "used"), [("0", 1), ("1001", 1000), ("5", 5)])
def test_limit_is_clamped(writer: LakeWriter, limit: str, used: int) -> None:
    with surface(writer.place) as client:
        assert client.get("/api/v1/events", params={"limit": limit}).json()["meta"]["limit"] == used


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"limit": "abc"}, "Invalid parameter: limit"),
        ({"from": "last week"}, "Invalid parameter: from"),
        ({"to": "2026-13-01"}, "Invalid parameter: to"),
        ({"from": "2026-02-02", "to": "2026-02-01"}, "Invalid parameter: from is after to"),
        ({"cursor": "nonsense"}, "Invalid parameter: cursor"),
        ({"includeBots": "perhaps"}, "Invalid parameter: includeBots"),
        ({"timezone": "Mars"}, "Invalid parameter: timezone"),
        ({"filters": "{}"}, "Invalid parameter: filters"),
    ],
)
def test_parameters_that_are_wrong(writer: LakeWriter, params: Mapping[str, str], message: str) -> None:
    with surface(writer.place) as client:
        answer = client.get("/api/v1/events", params=params)
    assert (answer.status_code, answer.json()) == (400, {"error": "bad_request", "message": message})


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "unauthorized"),
        ({"X-API-Key": "nobody"}, 401, "unauthorized"),
        ({"X-API-Key": "foreign"}, 401, "unauthorized"),
        ({"X-API-Key": "sender"}, 403, "forbidden"),
        ({"X-API-Key": "account"}, 400, "bad_request"),
        ({"Authorization": "Bearer reader"}, 200, None),
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v1/events/evt_1", "/api/v1/metrics?metric=sessions"])
def test_keys(writer: LakeWriter, headers: Mapping[str, str], status: int, code: str | None, path: str) -> None:
    writer.append([event_row(_hours_ago(1), event_id="evt_1")])
    with surface(writer.place, headers=headers) as client:
        answer = client.get(path)
    assert (answer.status_code, answer.json().get("error")) == (status, code)


def test_key_sees_its_own_project_only(writer: LakeWriter) -> None:
    writer.append([event_row(_hours_ago(1), event_id="mine"), event_row(_hours_ago(1), event_id="theirs", project=2)])
    with surface(writer.place, headers={"X-API-Key": "other"}) as client:
        assert [item["eventId"] for item in client.get("/api/v1/events").json()["data"]] == ["theirs"]
        assert client.get("/api/v1/events/mine").status_code == 404
        assert client.get("/api/v1/events", params={"projectId": "1"}).status_code == 403


def test_same_body_is_not_sent_again(writer: LakeWriter) -> None:
    writer.append([event_row(_hours_ago(1))])
    with surface(writer.place) as client:
        first = client.get("/api/v1/events")
        again = client.get("/api/v1/events", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        writer.append([event_row(_hours_ago(1))])
        assert client.get("/api/v1/events", headers={"If-None-Match": first.headers["etag"]}).status_code == 200


def test_event_in_the_lake(writer: LakeWriter) -> None:
    writer.append([event_row(_hours_ago(1), "u1", event_id="a/b", place=(2, 7, 3))])
    with surface(writer.place) as client:
        found = client.get("/api/v1/events/a/b").json()
    assert (found["state"], found["partition"], found["offset"], found["lakeVersion"]) == ("in_lake", 2, 7, 1)
    assert (found["eventId"], found["userId"], found["sessionId"]) == ("a/b", "u1", None)


class FakeFinder:
    """A log that holds one event."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def find(self, project: int, event_id: str, positions: Mapping[int, int]) -> EventDetail | None:
        if self.error is not None:
            raise self.error
        return EventDetail("waiting", "in_log", 1, 5) if (project, event_id) == (1, "waiting") else None


def test_event_in_the_log(writer: LakeWriter) -> None:
    with surface(writer.place, finder=FakeFinder()) as client:
        found = client.get("/api/v1/events/waiting").json()
        assert (found["state"], found["partition"], found["offset"], found["lakeVersion"]) == ("in_log", 1, 5, None)
        missing = client.get("/api/v1/events/nowhere")
        assert (missing.status_code, missing.json()) == (404, {"error": "not_found", "message": "Not found"})


def test_reserved_names_are_no_ids(writer: LakeWriter) -> None:
    writer.append([event_row(_hours_ago(1), event_id="stream")])
    with surface(writer.place) as client:
        assert client.get("/api/v1/events/stream").status_code == 404


def test_log_that_does_not_answer(writer: LakeWriter) -> None:
    with surface(writer.place, finder=FakeFinder(Unavailable("the log does not answer"))) as client:
        answer = client.get("/api/v1/events/nowhere")
    assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1
