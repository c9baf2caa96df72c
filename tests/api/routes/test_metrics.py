"""`GET /metrics` as JCHT's clients see it."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.live import PartitionStatus
from tests.api.routes.surface import surface
from tests.factories import CHAIN, LakeWriter, event_row

PATH = "/api/v1/metrics"


@pytest.fixture
def writer(tmp_path: Path) -> LakeWriter:
    return LakeWriter(tmp_path / "lake")


class Heartbeats:
    """A LogView with one partition, whose lake position is `durable`."""

    def __init__(self, end: int) -> None:
        self.end = end

    def statuses(self) -> Iterable[PartitionStatus]:
        at = 1_771_800_000_000
        yield PartitionStatus(CHAIN, 0, self.end, self.end, self.end, "live", at, at, at, "worker-0", None, at)


def test_body_is_that_of_the_sample(writer: LakeWriter) -> None:
    writer.append([event_row(f"2026-02-{day}T10:00:00", f"u{n}") for day in range(15, 23) for n in range(day)])
    params = {"metric": "unique_users", "from": "2026-02-15", "to": "2026-02-22", "interval": "day"}
    with surface(writer.place) as client:
        answer = client.get(PATH, params=params)
    assert answer.status_code == 200
    assert answer.json() == {
        "metric": "unique_users",
        "interval": "day",
        "data": [{"date": f"2026-02-{day}", "value": day} for day in range(15, 23)],
    }


def test_default_is_by_day_over_seven_days(writer: LakeWriter) -> None:
    now = datetime.now(UTC)
    writer.append([event_row(now - timedelta(days=day)) for day in (0, 1, 6.9, 7.5)])
    with surface(writer.place) as client:
        answer = client.get(PATH, params={"metric": "events_count"}).json()
    assert answer["interval"] == "day"
    assert len(answer["data"]) in (8, 9)
    assert sum(point["value"] for point in answer["data"]) == 3


@pytest.mark.parametrize("to", ["2026-02-22", "2026-02-22T10:30:00Z"])
def test_seven_days_before_a_day_are_eight_points(writer: LakeWriter, to: str) -> None:
    writer.append([event_row(f"2026-02-{day}T10:00:00") for day in (14, 15, 22)])
    with surface(writer.place) as client:
        data = client.get(PATH, params={"metric": "events_count", "to": to}).json()["data"]
    assert [point["date"] for point in data] == [f"2026-02-{day}" for day in range(15, 23)]
    assert data[-1]["value"] == 1


def test_headers_say_how_the_number_was_made(writer: LakeWriter) -> None:
    writer.append([event_row("2026-02-15T10:00:00", "u1", place=(0, 5, 0))], last_timestamp=1_771_700_000_000)
    params = {"metric": "unique_users", "from": "2026-02-15", "to": "2026-02-15", "timezone": "Europe/Berlin"}
    with surface(writer.place, log=Heartbeats(end=6)) as client:
        sketch = client.get(PATH, params=params)
        exact = client.get(PATH, params=params | {"exact": "true"})
        counted = client.get(PATH, params=params | {"metric": "events_count"})
    assert sketch.headers["streamgauge-accuracy"] == "sketch; error=0.008"
    assert (sketch.json(), exact.headers["streamgauge-accuracy"]) == (exact.json(), "exact")
    assert counted.headers["streamgauge-accuracy"] == "exact"
    assert sketch.headers["streamgauge-timezone"] == "Europe/Berlin"
    assert sketch.headers["streamgauge-watermark"] == "2026-02-22T22:40:00Z"
    with surface(writer.place, log=Heartbeats(end=7)) as client:
        # The log has an event more than the lake.
        assert client.get(PATH, params=params).headers["streamgauge-watermark"] == "2026-02-21T18:53:20Z"


def test_rollups_that_lag_are_not_used(writer: LakeWriter) -> None:
    writer.append([event_row("2026-02-15T10:00:00", "u1", place=(0, 5, 0))])
    params = {"metric": "events_count", "from": "2026-02-15", "to": "2026-02-15"}
    with surface(writer.place, log=Heartbeats(end=7)) as client:
        assert client.get(PATH, params=params).json()["data"] == [{"date": "2026-02-15", "value": 1}]
        writer.append([event_row("2026-02-15T11:00:00", "u2", place=(0, 6, 0))], with_rollups=False)
        assert client.get(PATH, params=params).json()["data"] == [{"date": "2026-02-15", "value": 2}]
        writer.append([event_row("2026-02-15T12:00:00", "u3", place=(0, 7, 0))])
        assert client.get(PATH, params=params).json()["data"] == [{"date": "2026-02-15", "value": 3}]


def test_bots_only_where_asked_for(writer: LakeWriter) -> None:
    writer.append([event_row("2026-02-15T10:00:00", "u1"), event_row("2026-02-15T10:00:00", "crawler", is_bot=True)])
    params = {"metric": "events_count", "from": "2026-02-15", "to": "2026-02-15"}
    with surface(writer.place, log=Heartbeats(end=1)) as client:
        assert client.get(PATH, params=params).json()["data"][0]["value"] == 1
        assert client.get(PATH, params=params | {"includeBots": "true"}).json()["data"][0]["value"] == 2


def test_answer_from_memory_is_the_same_until_the_lake_moves(writer: LakeWriter) -> None:
    params = {"metric": "sessions", "from": "2026-02-15", "to": "2026-02-15"}
    writer.append([event_row("2026-02-15T10:00:00", "u1")])
    with surface(writer.place) as client:
        first = client.get(PATH, params=params)
        assert client.get(PATH, params=params).content == first.content
        assert client.get(PATH, params=params, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
        writer.append([event_row("2026-02-15T11:00:00", "u1")])
        assert client.get(PATH, params=params).json()["data"][0]["value"] == 2


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "Missing required parameter: metric"),
        ({"metric": "happiness"}, "Invalid parameter: metric"),
        ({"metric": "sessions", "interval": "year"}, "Invalid parameter: interval"),
        ({"metric": "sessions", "timezone": "Nowhere/Land"}, "Invalid parameter: timezone"),
        ({"metric": "sessions", "from": "2026-02-02", "to": "2026-02-01"}, "Invalid parameter: from is after to"),
        ({"metric": "sum:"}, "Invalid parameter: metric"),
        ({"metric": "sessions", "compare": "previous_year"}, "Invalid parameter: compare, ask for the earlier time"),
        ({"metric": "sessions", "exact": "very"}, "Invalid parameter: exact"),
        ({"metric": "sessions", "segmentId": "seg_1"}, "Invalid parameter: segmentId"),
        (
            {"metric": "sessions", "interval": "hour", "from": "2020-01-01", "to": "2026-01-01"},
            "Invalid parameter: interval gives more than 10000 points, ask for a shorter range",
        ),
    ],
)
def test_parameters_that_are_wrong(writer: LakeWriter, params: Mapping[str, str], message: str) -> None:
    with surface(writer.place) as client:
        answer = client.get(PATH, params=params)
    assert (answer.status_code, answer.json()) == (400, {"error": "bad_request", "message": message})
