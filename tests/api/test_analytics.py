"""Questions and downloads through the whole application, on a real port."""

import json
from pathlib import Path

import pytest

from schemas.rows import Row
from tests.api.serving import Served, serve_fake, wait_until
from tests.factories import LakeWriter, event_row

DAY = {"from": "2026-03-22", "to": "2026-03-22"}
EVENTS = 40_000


def _rows() -> list[Row]:
    """Enough that a download is more than what waits between the lake and a reader who takes nothing."""
    text = b'{"text":"%s"}' % (b"x" * 400)
    return [
        event_row(f"2026-03-22T10:{n // 700:02}:00", f"u{n % 9}", "page_view", project=7, properties=text)
        for n in range(EVENTS)
    ]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Served:  # type: ignore[misc]  # a fixture yields
    directory: Path = tmp_path_factory.mktemp("data")
    LakeWriter(directory / "lake").append(_rows())
    with serve_fake(directory) as served:
        yield served


def test_questions_are_answered_at_both_mounts(api: Served) -> None:
    for mount in ("/api/v1", "/compat/jcht/api/v1"):
        overview = api.client.get(f"{mount}/overview/", params=DAY)
        assert overview.json()["metrics"]["events"] == EVENTS
        assert overview.headers["access-control-allow-origin"] == "*"
        assert api.client.get(f"{mount}/events/names", params=DAY).json()["data"][0]["count"] == EVENTS
        funnel = {"steps": [{"event": "page_view"}, {"event": "page_view"}], **DAY}
        assert api.client.post(f"{mount}/queries/funnel", json=funnel).json()["steps"][0]["count"] == 9
    assert api.client.get("/api/v1/overview", headers={"X-API-Key": "sg_ingest"}).status_code == 403
    assert api.client.get("/api/v1/overview", headers={"X-API-Key": "nobody"}).status_code == 401
    unchanged = api.client.get("/api/v1/overview", params=DAY, headers={"If-None-Match": overview.headers["etag"]})
    assert unchanged.status_code == 304


def test_sql_through_the_whole_application(api: Served) -> None:
    answer = api.client.post("/api/v1/sql", json={"query": "SELECT count(*) AS n FROM visits"})
    assert answer.json()["rows"] == [[EVENTS]]


def test_download_streams_and_frees_its_place_when_the_reader_leaves(api: Served) -> None:
    running = api.services.analytics._downloads._running
    params = DAY | {"format": "ndjson"}
    with api.client.stream("GET", "/api/v1/events/export", params=params) as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        first = next(answer.iter_lines())
        assert json.loads(first)["properties"]["text"] == "x" * 400
        assert len(running) == 1
    wait_until(lambda: not running, what="the end of a download that nobody reads")
    lines = api.client.get("/api/v1/events/export", params=params).text.splitlines()
    assert len({json.loads(line)["eventId"] for line in lines}) == len(lines) == EVENTS
