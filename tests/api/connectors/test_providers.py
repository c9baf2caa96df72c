"""What each provider's items become, and what is asked of it."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api.connectors import ga4
from api.connectors.catalogue import Catalogue
from api.connectors.connector import LONGEST_ITEM, Lines, NotPullable
from api.connectors.mixpanel import Mixpanel
from schemas.instants import to_millis
from tests.api.connectors.providers import (
    AMPLITUDE,
    GA4,
    MIXPANEL,
    PROPERTY,
    SECRET,
    amplitude_line,
    mixpanel_line,
)
from tests.api.connectors.pulling import pulling

NOON = datetime(2026, 3, 7, 12, tzinfo=UTC)
MILLIS = to_millis(NOON) + 250


def _catalogue(provider: str, credentials: dict[str, Any]) -> object:
    return Catalogue(Path(), 0).connector(provider, json.dumps(credentials).encode())


class TestMixpanel:
    def test_days_that_are_over_become_events(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            async with pulling(tmp_path) as pull:
                web = {
                    "$current_url": "https://shop.example/a",
                    "$device_id": "d1",
                    "$user_id": "ann",
                    "ip": "203.0.113.9",
                }
                page = json.loads(mixpanel_line(2, MILLIS, **web)) | {"event": "$mp_web_page_view"}
                nobody = mixpanel_line(3, MILLIS, distinct_id="$device:d2")
                pull.providers.days = {
                    "2026-03-07": [mixpanel_line(1, MILLIS), json.dumps(page).encode(), nobody],
                    "2026-03-08": [mixpanel_line(4, MILLIS + 86_400_000)],
                    "2026-03-09": [mixpanel_line(5, MILLIS)],
                }
                source = pull.source("mixpanel", MIXPANEL, NOON.replace(hour=0))
                await pull.pull()
                # The 9th is over, and still getting what comes late.
                assert pull.providers.asked == ["2026-03-07", "2026-03-08"]
                found = {event.pop("eventId"): event for event in pull.events()}
                assert len(found) == 4
                assert all(one.startswith("mixpanel:") for one in found)
                first, second, third, _ = sorted(found.values(), key=lambda event: event["timestamp"] + str(event))
                plain = {"timestamp": "2026-03-07T12:00:00.250Z", "source": source}
                by_name = {(event["event"], event["userId"]): event for event in (first, second, third)}
                assert by_name == {
                    ("Signed up", "user-1"): plain
                    | {"event": "Signed up", "userId": "user-1", "anonymousId": None, "properties": {"plan": "pro"}},
                    ("$pageview", "ann"): plain
                    | {
                        "event": "$pageview",
                        "userId": "ann",
                        "anonymousId": "d1",
                        "properties": {"plan": "pro", "$current_url": "https://shop.example/a"},
                    },
                    ("Signed up", None): plain
                    | {"event": "Signed up", "userId": None, "anonymousId": "d2", "properties": {"plan": "pro"}},
                }
                sync = pull.sync(source)
                assert (sync.cursor, sync.accepted, sync.refused) == (datetime(2026, 3, 9, tzinfo=UTC), 4, 0)
                assert sync.next == datetime(2026, 3, 11, 12, tzinfo=UTC)

        asyncio.run(scenario())

    def test_one_event_keeps_its_id_when_its_person_gets_another(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            async with pulling(tmp_path) as pull:
                pull.providers.days = {
                    "2026-03-07": [
                        mixpanel_line(1, MILLIS, distinct_id="$device:d"),
                        mixpanel_line(1, MILLIS, distinct_id="ann", **{"$distinct_id_before_identity": "$device:d"}),
                        # The same insert id of another person, or time, is another event: Mixpanel says so.
                        mixpanel_line(1, MILLIS, distinct_id="bob"),
                        mixpanel_line(1, MILLIS + 1, distinct_id="bob"),
                    ]
                }
                pull.source("mixpanel", MIXPANEL, NOON.replace(hour=0))
                await pull.pull()
                by_person = [(event["anonymousId"] or event["userId"], event["eventId"]) for event in pull.events()]
                ids = {person: [one for who, one in by_person if who == person] for person in ("d", "ann", "bob")}
                assert ids["d"] == ids["ann"]
                assert len({*ids["d"], *ids["bob"]}) == 3

        asyncio.run(scenario())

    def test_secret_of_the_project_is_enough(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            async with pulling(tmp_path) as pull:
                pull.providers.days = {"2026-03-07": [mixpanel_line(1, MILLIS)]}
                source = pull.source("mixpanel", {"apiSecret": SECRET}, NOON.replace(hour=0))
                await pull.pull()
                assert (len(pull.events()), pull.one(source).body.status) == (1, "active")

        asyncio.run(scenario())

    def test_server_of_the_region(self) -> None:
        for region, address in (("us", "data"), ("eu", "data-eu"), ("in", "data-in")):
            found = _catalogue("mixpanel", MIXPANEL | {"region": region})
            assert isinstance(found, Mixpanel)
            assert found.address == f"https://{address}.mixpanel.com"
            assert SECRET not in repr(found)


class TestAmplitude:
    def test_hours_of_upload_become_events(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            async with pulling(tmp_path) as pull:
                page = {
                    "event_type": "[Amplitude] Page Viewed",
                    "session_id": -1,
                    "user_id": None,
                    "event_properties": {
                        "[Amplitude] Page URL": "https://shop.example/a",
                        "[Amplitude] Page Title": "A",
                    },
                }
                pull.providers.hours = {
                    "20260310T06": [[amplitude_line(1, "2026-03-10 06:30:00.250000")]],
                    "20260310T08": [
                        [amplitude_line(2, "2026-03-09T23:59:59Z")],
                        [amplitude_line(3, "2026-03-10 08:00:00", **page)],
                    ],
                    "20260310T10": [[amplitude_line(4, "2026-03-10 10:00:00")]],
                }
                source = pull.source("amplitude", AMPLITUDE, datetime(2026, 3, 10, 6, tzinfo=UTC))
                await pull.pull()
                assert pull.providers.asked == [f"20260310T{hour:02d}" for hour in range(6, 10)]
                found = {event["eventId"][-1]: event for event in pull.events()}
                assert found["1"] == {
                    "event": "watch_tutorial",
                    "eventId": "amplitude:00000000-0000-0000-0000-000000000001",
                    "timestamp": "2026-03-10T06:30:00.250Z",
                    "userId": "user-1",
                    "anonymousId": "device-1",
                    "sessionId": "device-1.1396381378123",
                    "properties": {
                        "length": 1,
                        "platform": "Web",
                        "country": "France",
                        "user_properties": {"plan": "pro"},
                    },
                    "context": {},
                    "source": source,
                }
                assert found["2"]["timestamp"] == "2026-03-09T23:59:59.000Z"
                assert (found["3"]["event"], found["3"]["sessionId"]) == ("Page Viewed", None)
                assert found["3"]["context"] == {"url": "https://shop.example/a", "title": "A"}
                assert sorted(found) == ["1", "2", "3"]
                assert pull.sync(source).next == datetime(2026, 3, 10, 13, tzinfo=UTC)
                assert "203.0.113.9" not in json.dumps(pull.events())

        asyncio.run(scenario())

    def test_archive_that_the_disk_has_no_room_for(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            async with pulling(tmp_path) as pull:
                pull.providers.hours = {"20260310T09": [[amplitude_line(1, "2026-03-10 09:00:00")]]}
                source = pull.source("amplitude", AMPLITUDE, datetime(2026, 3, 10, 9, tzinfo=UTC))
                room, pull.catalogue = pull.catalogue, Catalogue(tmp_path, 2**62, pull.providers.addresses)
                await pull.pull()
                assert (pull.one(source).body.status_message or "").startswith("The disk of this service has no room")
                pull.catalogue, pull.now = room, pull.sync(source).next
                await pull.pull()
                assert (pull.one(source).body.status, len(pull.ids())) == ("active", 1)

        asyncio.run(scenario())


class TestGoogleAnalytics:
    def test_rows_become_events_page_by_page(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ga4, "PAGE_ROWS", 2)

        async def scenario() -> None:
            async with pulling(tmp_path) as pull:
                rows = [
                    (["2026030700", "page_view", f"/{number}", "France", "mobile", "Direct"], [f"{number}", "1"])
                    for number in range(1, 5)
                ]
                rows.append((["2026030713", "purchase", "/pay", "(not set)", "desktop", "Email"], ["7", "3"]))
                pull.providers.reports = {"2026-03-07": rows}
                source = pull.source("google_analytics", GA4, NOON.replace(hour=0))
                await pull.pull()
                assert pull.providers.asked == ["2026-03-07+0", "2026-03-07+2", "2026-03-07+4"]
                found = sorted(pull.events(), key=lambda event: event["properties"]["eventCount"])
                assert [event["properties"]["eventCount"] for event in found] == [1, 2, 3, 4, 7]
                last = found[-1]
                assert last.pop("eventId").startswith("ga4:")
                assert last == {
                    "event": "ga4_report",
                    "timestamp": "2026-03-07T21:00:00.000Z",
                    "source": source,
                    "properties": {
                        "dateHour": "2026030713",
                        "eventName": "purchase",
                        "pagePath": "/pay",
                        "country": "(not set)",
                        "deviceCategory": "desktop",
                        "sessionDefaultChannelGroup": "Email",
                        "eventCount": 7,
                        "totalUsers": 3,
                    },
                }
                # A corrected count is no other row.
                pull.providers.reports["2026-03-07"][-1][1][0] = "8"
                before = set(pull.ids())
                pull.ask(source, NOON.replace(hour=0))
                await pull.pull()
                assert set(pull.ids()) == before
                assert len(before) == 5

        asyncio.run(scenario())

    def test_row_of_many_hours_is_of_its_day(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            async with pulling(tmp_path) as pull:
                said = ["(other)"] * 6
                pull.providers.reports = {
                    "2026-03-07": [(said, ["7", "3"]), (["2026030701", *said[1:]], ["many", "3"])]
                }
                source = pull.source("google_analytics", GA4, NOON.replace(hour=0))
                await pull.pull()
                assert [event["timestamp"] for event in pull.events()] == ["2026-03-07T08:00:00.000Z"]
                assert pull.sync(source).refused == 1

        asyncio.run(scenario())

    def test_rows_that_never_come_are_no_end(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            async with pulling(tmp_path) as pull:
                row = (["2026030700", "page_view", "/", "France", "mobile", "Direct"], ["1", "1"])
                pull.providers.reports, pull.providers.missing_rows = {"2026-03-07": [row]}, 10**9
                source = pull.source("google_analytics", GA4, NOON.replace(hour=0))
                await pull.pull()
                assert pull.providers.asked == ["2026-03-07+0", "2026-03-07+5000"]
                assert (pull.one(source).body.status, pull.sync(source).cursor) == ("error", NOON.replace(hour=0))

        asyncio.run(scenario())

    @pytest.mark.parametrize("account", [{"private_key": "no key"}, {"client_email": "stranger@example.org"}])
    def test_account_that_google_does_not_know(self, tmp_path: Path, account: dict[str, str]) -> None:
        async def scenario() -> None:
            async with pulling(tmp_path) as pull:
                credentials = GA4 | {"serviceAccount": json.dumps(GA4["serviceAccount"] | account)}  # type: ignore[operator]
                source = pull.source("google_analytics", credentials, NOON.replace(hour=0))
                await pull.pull()
                body = pull.one(source).body
                assert (body.status, pull.providers.asked) == ("error", [])
                assert "service account" in (body.status_message or "")
                assert "change" in (body.status_message or "")

        asyncio.run(scenario())

    def test_property_it_may_not_see(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            async with pulling(tmp_path) as pull:
                source = pull.source("google_analytics", GA4 | {"propertyId": "1"}, NOON.replace(hour=0))
                await pull.pull()
                assert pull.one(source).body.status_message == (
                    "Google Analytics refuses the credentials (403): change them, or what they may read"
                )

        asyncio.run(scenario())

    def test_answer_that_is_none(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            async with pulling(tmp_path) as pull:
                pull.providers.reports = {"2026-03-07": []}
                pull.providers.time_zone = "Mars/Olympus"
                source = pull.source("google_analytics", GA4, NOON.replace(hour=0))
                await pull.pull()
                assert pull.one(source).body.status == "error"
                assert pull.sync(source).cursor == NOON.replace(hour=0)

        asyncio.run(scenario())


@pytest.mark.parametrize(
    ("provider", "credentials", "message"),
    [
        ("segment", {"key": "x"}, "Only sources of mixpanel, amplitude and google_analytics can be synced"),
        ("mixpanel", {"projectToken": "x"}, "needs the credentials username, secret and projectId, or apiSecret"),
        ("mixpanel", MIXPANEL | {"projectId": "1&project_id=2"}, "projectId of a mixpanel source is a number"),
        ("mixpanel", MIXPANEL | {"username": "a:b"}, "has a colon"),
        ("mixpanel", MIXPANEL | {"region": "moon"}, "one of us, eu, in"),
        ("amplitude", {"apiKey": "x"}, "needs the credentials apiKey and secretKey"),
        ("amplitude", AMPLITUDE | {"region": "in"}, "one of us, eu"),
        ("google_analytics", {"measurementId": "G-1", "apiSecret": "x"}, "needs the credentials propertyId"),
        (
            "google_analytics",
            GA4 | {"propertyId": f"../{PROPERTY}"},
            "propertyId of a google_analytics source is a number",
        ),
        ("google_analytics", GA4 | {"propertyId": "٣"}, "propertyId of a google_analytics source is a number"),
        ("google_analytics", GA4 | {"serviceAccount": "{}"}, "The serviceAccount is the JSON of its key file"),
        ("google_analytics", GA4 | {"serviceAccount": "no json"}, "The serviceAccount is the JSON of its key file"),
    ],
)
def test_credentials_that_nobody_can_read_with(provider: str, credentials: dict[str, Any], message: str) -> None:
    with pytest.raises(NotPullable, match=message):
        _catalogue(provider, credentials)


def test_addresses_are_those_of_the_documents() -> None:
    amplitude = _catalogue("amplitude", AMPLITUDE | {"region": "eu"})
    analytics = _catalogue("google_analytics", GA4)
    assert getattr(amplitude, "address") == "https://analytics.eu.amplitude.com"  # noqa: B009
    assert isinstance(analytics, ga4.GoogleAnalytics)
    assert (analytics.address, analytics.token_address) == (
        "https://analyticsdata.googleapis.com",
        "https://oauth2.googleapis.com/token",  # and not what the account's file says
    )
    shown = repr(
        (amplitude, analytics, _catalogue("mixpanel", MIXPANEL), _catalogue("mixpanel", {"apiSecret": SECRET}))
    )
    assert all(hidden not in shown for hidden in ("hush", "PRIVATE KEY"))


def test_a_line_longer_than_any_event_is_not_held() -> None:
    lines = Lines()
    found = [line for _ in range(64) for line in lines.feed(b"x" * 65536)]
    assert (found, lines.feed(b"\nnext")[0][:1]) == ([], b"x")
    assert lines.end() == [b"next"]
    lines.feed(b"y" * (3 * LONGEST_ITEM))
    assert len(lines.end()[0]) == LONGEST_ITEM + 1
