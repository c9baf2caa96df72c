"""`GET /events/export` in every format, broken off and gone on with."""

import csv
import io
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.rows import Row
from tests import oracle
from tests.api.routes.surface import Client, surface
from tests.factories import LakeWriter, event_row
from tests.storage.query.asking import span_of
from tests.storage.query.test_overview import some_events

PATH = "/api/v1/events/export"
WEEK = {"from": "2026-03-22", "to": "2026-03-29"}


@dataclass(frozen=True)
class World:
    rows: list[Row]
    client: Client

    @property
    def expected(self) -> list[Row]:
        return oracle.listed(self.rows, 1, span_of(WEEK["from"], WEEK["to"]))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    writer = LakeWriter(tmp_path_factory.mktemp("downloads") / "lake")
    rows = list(some_events(random.Random(9), 400))
    for start in range(0, len(rows), 150):
        writer.append(rows[start : start + 150])
    with surface(writer.place) as client:
        yield World(rows, client)


def _ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["eventId"] for item in items]


def _lines(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


def test_every_format_has_every_event_once(world: World) -> None:
    answers = {form: world.client.get(PATH, WEEK | {"format": form}) for form in FORMATS}
    ids = {form: sorted(_ids(FORMATS[form](answer.content))) for form, answer in answers.items()}
    expected = sorted(row.event_id for row in world.expected)
    assert ids == dict.fromkeys(FORMATS, expected)
    assert answers["csv"].headers["content-type"] == "text/csv; charset=utf-8"
    assert answers["csv"].headers["content-disposition"] == 'attachment; filename="events.csv"'


FORMATS: dict[str, Any] = {
    "csv": lambda content: list(csv.DictReader(io.StringIO(content.decode()))),
    "json": json.loads,
    "ndjson": _lines,
    "parquet": lambda content: pq.read_table(io.BytesIO(content)).to_pylist(),
    "arrow": lambda content: pa.ipc.open_stream(content).read_all().to_pylist(),
}


def test_event_is_as_it_was_sent(world: World) -> None:
    items = {item["eventId"]: item for item in _lines(world.client.get(PATH, WEEK).content)}
    for row in world.expected:
        item = items[row.event_id]
        assert item["properties"] == msgspec.json.decode(row.properties)
        assert (item["event"], item["path"], item["personId"]) == (row.event, row.web.path, row.distinct_id)
    assert item["timestamp"].endswith("Z")


def test_format_by_what_is_accepted(world: World) -> None:
    for accept, kind in (("text/csv;q=0.9", "text/csv"), ("*/*", "application/x-ndjson")):
        answer = world.client.get(PATH, WEEK, headers={"Accept": accept})
        assert answer.headers["content-type"].startswith(kind)


def test_download_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path)
    rows = list(some_events(random.Random(5), 300))
    for start in range(0, len(rows), 100):
        writer.append(rows[start : start + 100])
    with surface(tmp_path) as client:
        whole = client.get(PATH, WEEK)
        ids = _ids(_lines(whole.content))
        cursor = {"cursor": whole.headers["streamgauge-cursor"]}
        writer.append([event_row("2026-03-22T12:00:00", "u1", event_id="late")])
        for skip in (0, 1, len(ids) // 2, len(ids), len(ids) + 5):
            rest = client.get(PATH, cursor | {"skip": str(skip)})
            assert _ids(_lines(rest.content)) == ids[skip:]
        assert sorted(_ids(_lines(client.get(PATH, WEEK).content))) == sorted([*ids, "late"])


def test_filters_and_tenants(world: World) -> None:
    clicks = _lines(world.client.get(PATH, WEEK | {"event": "click"}).content)
    assert {item["event"] for item in clicks} == {"click"}
    assert sorted(_ids(clicks)) == sorted(row.event_id for row in world.expected if row.event == "click")
    other = _ids(_lines(world.client.get(PATH, WEEK, {"X-API-Key": "other"}).content))
    expected = oracle.listed(world.rows, 2, span_of(WEEK["from"], WEEK["to"]))
    assert sorted(other) == sorted(row.event_id for row in expected)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"format": "xml"}, "Invalid parameter: format"),
        ({"cursor": "x"}, "Invalid parameter: cursor"),
        ({"skip": "-1"}, "Invalid parameter: skip"),
        ({"filters": '[{"key":"a","op":"matches","value":"("}]'}, "Invalid parameter: filters, op matches"),
        ({"asOf": "99"}, "Invalid parameter: asOf"),
    ],
)
def test_parameters_that_are_wrong(world: World, params: dict[str, str], message: str) -> None:
    answer = world.client.get(PATH, WEEK | params)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert answer.json()["message"].startswith(message)


def test_version_that_is_gone(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path)
    writer.append([event_row("2026-03-22T10:00:00", "u1")])
    with surface(tmp_path) as client:
        cursor = client.get(PATH, WEEK).headers["streamgauge-cursor"]
        writer.append([event_row("2026-03-22T11:00:00", "u1")])
        for file in (tmp_path / "events").rglob("*.parquet"):
            file.unlink()
        answer = client.get(PATH, {"cursor": cursor})
    assert (answer.status_code, answer.json()["error"]) == (410, "gone")
