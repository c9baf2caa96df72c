"""`GET /overview` and `GET /breakdowns` over HTTP, against the oracle; and what all analytics reads share."""

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import msgspec
import pytest

from schemas.figures import Figures
from schemas.rows import Row
from schemas.windows import Interval, TimeRange, buckets
from tests import oracle_figures as oracle
from tests.api.routes.surface import Client, surface
from tests.factories import LakeWriter, event_row
from tests.storage.query.asking import span_of
from tests.storage.query.test_overview import some_events

PATH = "/api/v1/overview"
WEEK = {"from": "2026-03-22", "to": "2026-03-29"}


@dataclass(frozen=True)
class World:
    rows: list[Row]
    client: Client


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    writer = LakeWriter(tmp_path_factory.mktemp("overview") / "lake")
    rows = list(some_events(random.Random(4), 300))
    writer.append(rows)
    with surface(writer.place) as client:
        yield World(rows, client)


def told(figures: Figures) -> Any:
    return msgspec.to_builtins(figures)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York"])
@pytest.mark.parametrize("interval", list(Interval))
def test_figures_are_those_of_the_oracle(world: World, zone: str, interval: Interval) -> None:
    span = span_of(WEEK["from"], WEEK["to"], zone)
    body = world.client.get(PATH, WEEK | {"timezone": zone, "interval": interval}).json()
    points = buckets(span, interval, ZoneInfo(zone))
    assert body["metrics"] == told(oracle.figures(world.rows, 1, span))
    assert body["timeseries"] == [
        {"date": point.label} | told(oracle.figures(world.rows, 1, TimeRange(point.start, point.end)))
        for point in points
    ]


def test_meta_says_how_it_was_made(world: World) -> None:
    answer = world.client.get(PATH, WEEK | {"timezone": "Europe/Berlin"})
    meta = answer.json()["meta"]
    bots = [row for row in world.rows if row.web.is_bot]
    plain = [msgspec.structs.replace(row, web=msgspec.structs.replace(row.web, is_bot=False)) for row in bots]
    assert meta == {
        "from": "2026-03-21T23:00:00Z",
        "to": "2026-03-29T22:00:00Z",
        "timezone": "Europe/Berlin",
        "accuracy": {"method": "exact", "error": 0.0},
        "watermark": "1970-01-01T00:00:00Z",
        "version": 1,
        "source": "rows",
        "botsExcluded": len(
            oracle.chosen(plain, 1, span_of(WEEK["from"], WEEK["to"], "Europe/Berlin"), lambda _: True)
        ),
    }
    assert answer.headers["streamgauge-accuracy"] == "exact"
    again = world.client.get(
        PATH, WEEK | {"timezone": "Europe/Berlin"}, headers={"If-None-Match": answer.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("compare", "before"),
    [
        ("previous_period", ("2026-03-24", "2026-03-26")),
        ("previous_year", ("2025-03-27", "2025-03-29")),
        ("2026-03-20/2026-03-25", ("2026-03-20", "2026-03-25")),
    ],
)
def test_comparison_is_the_same_question_of_an_earlier_time(
    world: World, compare: str, before: tuple[str, str]
) -> None:
    # The clocks of Berlin change in the last day: by the hour the days before would be others.
    days = {"from": "2026-03-27", "to": "2026-03-29", "timezone": "Europe/Berlin"}
    body = world.client.get(PATH, days | {"compare": compare}).json()
    asked = {"from": before[0], "to": before[1], "timezone": "Europe/Berlin"}
    assert body["comparison"]["metrics"] == world.client.get(PATH, asked).json()["metrics"]
    change = body["comparison"]["change"]["events"]
    earlier, now = body["comparison"]["metrics"]["events"], body["metrics"]["events"]
    assert change == (round(100 * (now - earlier) / earlier, 1) if earlier else None)


def test_filters_choose(world: World) -> None:
    filters = json.dumps([{"or": [{"key": "plan", "op": "eq", "value": "pro"}, {"key": "country", "op": "set"}]}])
    body = world.client.get(PATH, WEEK | {"filters": filters}).json()
    expected = oracle.figures(
        world.rows,
        1,
        span_of(WEEK["from"], WEEK["to"]),
        lambda row: b'"plan":"pro"' in row.properties or row.web.country is not None,
    )
    assert body["metrics"] == told(expected)


def test_breakdown_is_that_of_the_oracle(world: World) -> None:
    found = oracle.by_event(world.rows, 1, span_of(WEEK["from"], WEEK["to"]), lambda row: row.web.country)
    body = world.client.get("/api/v1/breakdowns", WEEK | {"dimension": "country"}).json()
    assert body["data"] == [msgspec.to_builtins(row) for row in found.values()]
    assert (body["meta"]["total"], body["meta"]["hasMore"]) == (1, False)


@pytest.mark.parametrize("dimension", ["event", "path", "entryPath", "exitPath", "referrer", "properties.plan"])
def test_what_is_not_listed_is_one_row(world: World, dimension: str) -> None:
    params = WEEK | {"dimension": dimension, "sort": "events"}
    whole = world.client.get("/api/v1/breakdowns", params).json()["data"]
    body = world.client.get("/api/v1/breakdowns", params | {"limit": "1", "other": "true"}).json()
    assert body["data"] == whole[:1]
    assert body["other"]["events"] == sum(row["events"] for row in whole[1:])
    assert max(row["visitors"] for row in whole[1:]) <= body["other"]["visitors"]
    assert body["meta"]["hasMore"]
    assert world.client.get("/api/v1/breakdowns", params | {"offset": "90"}).json()["meta"]["total"] == len(whole)


def test_version_of_the_past_gives_the_same_answer_again(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    writer.append([event_row("2026-03-22T10:00:00", "u1", "page_view")])
    with surface(writer.place) as client:
        first = client.get(PATH, WEEK).json()
        writer.append([event_row("2026-03-22T11:00:00", "u2", "page_view")])
        later = client.get(PATH, WEEK).json()
        again = client.get(PATH, WEEK | {"asOf": str(first["meta"]["version"])}).json()
        assert later["metrics"]["events"] == 2
        assert again == first
        assert client.get(PATH, WEEK | {"asOf": "2999-01-01T00:00:00Z"}).json()["metrics"] == later["metrics"]
        ahead = client.get(PATH, WEEK | {"asOf": "99"})
        assert ahead.json() == {"error": "bad_request", "message": "Invalid parameter: asOf, the newest version is 2"}
        before = client.get(PATH, WEEK | {"asOf": "2020-01-01"})
        assert (before.status_code, before.json()["error"]) == (410, "gone")
        for file in (tmp_path / "lake" / "events").rglob("*.parquet"):
            file.unlink()
        gone = client.get(PATH, WEEK | {"asOf": "1"})
        assert (gone.status_code, gone.json()["error"]) == (410, "gone")
        assert "version 1 is not kept any more" in gone.json()["message"]


HOSTILE = [
    "'",
    '"',
    "\\",
    "'; DROP TABLE events; --",
    "$.a",
    "/../..",
    "~",
    "a.b.c",
    "%",
    "\0",
    "é" * 200,
    "$p0",
    "{x}",
    "*",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_properties_are_only_names(tmp_path: Path, name: str) -> None:
    sent = json.dumps({name: "it's"}).encode()
    writer = LakeWriter(tmp_path / "lake")
    writer.append([event_row("2026-03-22T10:00:00", "u1", properties=sent)])
    with surface(writer.place) as client:
        body = client.get("/api/v1/breakdowns", WEEK | {"dimension": f"properties.{name}"}).json()
        assert [row["value"] for row in body["data"]] == ["it's"]
        filters = json.dumps([{"key": f"properties.{name}", "op": "eq", "value": "it's"}])
        assert client.get(PATH, WEEK | {"filters": filters}).json()["metrics"]["events"] == 1
        metric = client.get("/api/v1/metrics", WEEK | {"metric": f"sum:{name}"})
        assert (metric.status_code, metric.json()["metric"]) == (200, f"sum:{name}")


BAD: dict[str, tuple[Mapping[str, str], str]] = {
    "zone": ({"timezone": "Nowhere/Land"}, "Invalid parameter: timezone"),
    "order": ({"from": "2026-02-02", "to": "2026-02-01"}, "Invalid parameter: from is after to"),
    "date": ({"from": "yesterday"}, "Invalid parameter: from"),
    "interval": ({"interval": "year"}, "Invalid parameter: interval"),
    "points": (
        {"interval": "hour", "from": "2020-01-01", "to": "2026-01-01"},
        "Invalid parameter: interval gives more than 10000 points, ask for a shorter range",
    ),
    "filters": ({"filters": "[{"}, "Invalid parameter: filters"),
    "op": ({"filters": '[{"key":"a","op":"like","value":"b"}]'}, "Invalid parameter: filters, unknown op 'like'"),
    "pattern": (
        {"filters": '[{"key":"path","op":"matches","value":"[a"}]'},
        "Invalid parameter: filters, op matches: missing ]: [a",
    ),
    "number": (
        {"filters": '[{"key":"a","op":"gt","value":1' + "0" * 400 + "}]"},
        "Invalid parameter: filters, a number is too large",
    ),
    "segment": ({"segmentId": "seg_unknown"}, "Invalid parameter: segmentId"),
    "comparison": ({"compare": "yesterday"}, "Invalid parameter: compare"),
    "no range": ({"compare": "2026-03-20/"}, "Invalid parameter: compare"),
    "backwards": ({"compare": "2026-03-20/2026-03-19"}, "Invalid parameter: compare"),
    "century": ({"compare": "previous_year", "from": "0001-04-01", "to": "0001-04-02"}, "Invalid parameter: compare"),
    "flag": ({"exact": "very"}, "Invalid parameter: exact"),
    "bots": ({"includeBots": "some"}, "Invalid parameter: includeBots"),
    "version": ({"asOf": "-1"}, "Invalid parameter: asOf"),
}


@pytest.mark.parametrize("path", [PATH, "/api/v1/breakdowns?dimension=event"])
@pytest.mark.parametrize(("params", "message"), BAD.values(), ids=BAD)
def test_parameters_that_are_wrong(world: World, path: str, params: Mapping[str, str], message: str) -> None:
    own = {"interval", "points", "comparison", "century"}
    if path != PATH and message in {BAD[name][1] for name in own}:
        return
    query = httpx.URL(path).copy_merge_params(dict(params))
    answer = world.client.get(str(query))
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert answer.json()["message"].startswith(message)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "Missing required parameter: dimension"),
        ({"dimension": "colour"}, "Invalid parameter: dimension"),
        ({"dimension": "properties."}, "Invalid parameter: dimension"),
        ({"dimension": "path", "sort": "luck"}, "Invalid parameter: sort"),
        ({"dimension": "path", "offset": "-1"}, "Invalid parameter: offset"),
        ({"dimension": "path", "limit": "many"}, "Invalid parameter: limit"),
        ({"dimension": "path", "other": "some"}, "Invalid parameter: other"),
    ],
)
def test_breakdowns_that_are_wrong(world: World, params: Mapping[str, str], message: str) -> None:
    answer = world.client.get("/api/v1/breakdowns", params)
    assert (answer.status_code, answer.json()) == (400, {"error": "bad_request", "message": message})


def test_a_list_that_cannot_compare_says_so(world: World) -> None:
    for path in ("breakdowns?dimension=path", "events?", "sessions?", "events/names?"):
        answer = world.client.get(f"/api/v1/{path}&compare=previous_year")
        assert answer.status_code == 400, path
        assert answer.json()["message"] == "Invalid parameter: compare, ask for the earlier time"
