"""From `POST /sources/{id}/sync` to `GET /events`: the whole API, a real lake, and providers on loopback."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.connectors import syncer
from api.connectors.catalogue import Catalogue
from api.erasing import erase_due, eraser
from schemas.instants import to_millis
from tests.api.connectors.providers import AMPLITUDE, GA4, MIXPANEL, Providers, amplitude_line, mixpanel_line
from tests.api.dialects.world import World, serving
from tests.api.serving import wait_until

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
# Settled at any time of the day, and nothing before it is.
THEN = NOW.replace(hour=0, minute=0, second=0, microsecond=0) - 4 * DAY

Call = Callable[..., httpx.Response]


@pytest.fixture
def providers() -> Iterator[Providers]:
    found = Providers()
    with found.in_thread():
        yield found


@pytest.fixture
def world(tmp_path: Path, providers: Providers, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("api.app.Catalogue", partial(Catalogue, addresses=providers.addresses))
    monkeypatch.setattr("api.erasing.LOOK_SECONDS", 3600.0)
    monkeypatch.setattr(syncer, "_LOOK_SECONDS", 0.05)
    with serving(tmp_path, rate_limits="off", min_free_bytes=0) as found:
        yield found


def _call(world: World, method: str, path: str, **more: Any) -> httpx.Response:
    headers = {"X-API-Key": world.secret(more.pop("key", "jcht"))}
    return world.client.request(method, f"/api/v1{path}", headers=headers, **more)


def _make(world: World, provider: str, credentials: dict[str, Any]) -> str:
    body = {"provider": provider, "name": "Old", "credentials": credentials}
    made = _call(world, "POST", "/sources", json=body)
    assert made.status_code == 201
    return str(made.json()["id"])


def _sync(world: World, source: str) -> dict[str, Any]:
    """Ask for it, wait until nothing more is to be had, and let it flow into the lake."""
    shown = _pull(world, source)
    world.flow()
    return shown


def _pull(world: World, source: str, start: datetime = THEN) -> dict[str, Any]:
    asked = _call(world, "POST", f"/sources/{source}/sync", params={"from": f"{start:%Y-%m-%d}"})
    assert asked.status_code == 202

    def is_resting() -> bool:
        following = _call(world, "GET", f"/sources/{source}").json()["sync"]["next"]
        return datetime.fromisoformat(following) > datetime.now(UTC)

    wait_until(is_resting)
    return dict(_call(world, "GET", f"/sources/{source}").json())


def _events(world: World) -> list[dict[str, Any]]:
    found = _call(world, "GET", "/events", params={"limit": 1000, "from": f"{THEN - 9 * DAY:%Y-%m-%d}"})
    return list(found.json()["data"])


def test_nothing_is_pulled_before_somebody_asks(world: World, providers: Providers) -> None:
    source = _make(world, "mixpanel", MIXPANEL)
    assert _call(world, "GET", f"/sources/{source}").json()["sync"] is None
    other = _make(world, "mixpanel", MIXPANEL)
    _sync(world, other)
    assert _call(world, "GET", f"/sources/{source}").json()["sync"] is None
    assert len(providers.asked) == len(set(providers.asked))


def test_events_of_all_providers_reach_the_questions_once(world: World, providers: Providers) -> None:
    day, hour, at = f"{THEN:%Y-%m-%d}", f"{THEN:%Y%m%d}T05", f"{THEN:%Y-%m-%d} 05:00:01"
    providers.days = {day: [mixpanel_line(number, to_millis(THEN) + 1000) for number in range(3)] + [b"no event"]}
    providers.hours = {hour: [[amplitude_line(number, at) for number in range(4)]]}
    counted = ["1200", "80"]
    providers.reports = {day: [([f"{THEN:%Y%m%d}05", "page_view", "/", "France", "mobile", "Direct"], counted)]}
    sources = [
        _make(world, provider, credentials)
        for provider, credentials in (("mixpanel", MIXPANEL), ("amplitude", AMPLITUDE), ("google_analytics", GA4))
    ]
    shown = [_sync(world, source) for source in sources]
    assert [one["sync"]["accepted"] for one in shown] == [3, 4, 1]
    assert [one["sync"]["refused"] for one in shown] == [1, 0, 0]
    for one in shown:
        assert (one["status"], one["statusMessage"], one["eventsToday"]) == ("active", None, 0)
        assert datetime.fromisoformat(one["lastSync"]) >= NOW - timedelta(seconds=1)
    events = _events(world)
    by_source = {source: [event for event in events if event["source"] == source] for source in sources}
    assert [len(found) for found in by_source.values()] == [3, 4, 1]
    [row] = by_source[sources[2]]
    assert (row["event"], row["userId"], row["properties"]["eventCount"]) == ("ga4_report", None, 1200)
    span = {"from": day, "to": day}
    figures = _call(world, "GET", "/metrics", params={"metric": "unique_users", "interval": "day", **span}).json()
    assert [point["value"] for point in figures["data"]] == [4]  # user-0 to user-3 of both, and nobody of the report
    total = _call(world, "GET", "/metrics", params={"metric": "sum:eventCount", "interval": "day", **span}).json()
    assert [point["value"] for point in total["data"]] == [1200]
    for source in sources:  # again, from the start
        _sync(world, source)
    assert sorted(event["eventId"] for event in _events(world)) == sorted(event["eventId"] for event in events)
    listed = _call(world, "GET", "/sources").json()["data"]
    assert [list(one) for one in listed] == [["id", "provider", "name", "status", "lastSync", "eventsToday"]] * 3
    assert [(one["id"], one["status"]) for one in listed] == [(source, "active") for source in sources]


def test_failure_is_shown_without_what_is_secret_and_ends_with_other_credentials(
    world: World, providers: Providers
) -> None:
    providers.days = {f"{THEN:%Y-%m-%d}": [mixpanel_line(1, to_millis(THEN))]}
    source = _make(world, "mixpanel", MIXPANEL | {"secret": "wrong-hush"})
    shown = _sync(world, source)
    assert (shown["status"], shown["lastSync"], shown["sync"]["failures"]) == ("error", None, 1)
    assert shown["statusMessage"] == "Mixpanel refuses the credentials (401): change them, or what they may read"
    changed = _call(world, "PATCH", f"/sources/{source}", json={"name": "Renamed"}).json()
    assert changed["sync"] == shown["sync"]
    answers = [_call(world, "PATCH", f"/sources/{source}", json={"credentials": MIXPANEL})]
    wait_until(lambda: _call(world, "GET", f"/sources/{source}").json()["status"] == "active")
    assert len(world.flow()) == 1
    answers += [_call(world, "GET", f"/sources/{source}"), _call(world, "GET", "/activity")]
    assert all("hush" not in answer.text for answer in answers)


def test_another_provider_begins_anew(world: World) -> None:
    source = _make(world, "mixpanel", MIXPANEL)
    _sync(world, source)
    body = {"provider": "amplitude", "credentials": AMPLITUDE}
    assert _call(world, "PATCH", f"/sources/{source}", json=body).json()["sync"] is None


def test_erased_person_stays_away(world: World, providers: Providers) -> None:
    providers.days = {f"{THEN:%Y-%m-%d}": [mixpanel_line(number, to_millis(THEN)) for number in (1, 2)]}
    source = _make(world, "mixpanel", MIXPANEL)
    _sync(world, source)
    assert {event["userId"] for event in _events(world)} == {"user-1", "user-2"}
    assert _call(world, "DELETE", "/users/user-1").status_code == 202
    erase_due(world.services.things, eraser(world.services.settings), datetime.now(UTC))
    assert _pull(world, source)["sync"]["accepted"] == 2 + 1
    [record] = world._producer.records
    assert b"user-2" in record.value
    assert b"user-1" not in record.value


def test_who_may_ask_for_what(world: World, providers: Providers) -> None:
    source = _make(world, "mixpanel", MIXPANEL)
    path = f"/sources/{source}/sync"
    stranger = {"X-API-Key": world.another("eve@example.org").secrets["jcht"]}
    assert world.client.post(f"/api/v1{path}", headers=stranger).status_code == 404
    assert world.client.post(f"/api/v1{path}").status_code == 401
    assert _call(world, "POST", path, key="read").status_code == 403
    assert _call(world, "POST", path, key="ingest").status_code == 403
    assert _call(world, "POST", "/sources/src_none/sync").status_code == 404
    for start in ("yesterday", "2026-13-01", "1999-01-01", f"{NOW + 2 * DAY:%Y-%m-%d}", "2026-01-01T00:00:00Z"):
        answer = _call(world, "POST", path, params={"from": start})
        assert (answer.status_code, answer.json()["message"]) == (400, "Invalid parameter: from")
    sends = _make(world, "google_analytics", {"measurementId": "G-1", "apiSecret": "s"})
    answer = _call(world, "POST", f"/sources/{sends}/sync")
    assert (answer.status_code, answer.json()["message"]) == (
        400,
        "A sync of google_analytics needs the credentials propertyId and serviceAccount",
    )
    lost = _make(world, "mixpanel", MIXPANEL)
    with world.services.database.write() as connection:
        query = "UPDATE kept SET sealed = (SELECT sealed FROM kept WHERE id = ?) WHERE id = ?"
        connection.exec_driver_sql(query, (source, lost))
    answer = _call(world, "POST", f"/sources/{lost}/sync")
    assert (answer.status_code, answer.json()["message"]) == (
        409,
        "The credentials cannot be read any more; set them again",
    )
    assert providers.asked == []
    asked = _call(world, "POST", path).json()
    cursor = datetime.fromisoformat(asked["sync"]["cursor"])
    assert (
        cursor == NOW.replace(hour=0, minute=0, second=0, microsecond=0) - 30 * DAY or NOW.day != datetime.now(UTC).day
    )
    actions = [one["action"] for one in _call(world, "GET", "/activity").json()["data"]]
    assert actions.count("source.updated") == 1
