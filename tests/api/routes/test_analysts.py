"""`POST /sql`, `GET /lake/files` and `GET /dead-letters` over HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from schemas.deadletters import DeadLetter
from storage.lake.commit import FencedTable, Span
from storage.lake.deadletters import dead_letters_table
from tests.api.routes.surface import Client, surface
from tests.factories import CHAIN, LakeWriter, event_row

ANALYST = {"X-API-Key": "analyst"}
ACCOUNT = {"X-API-Key": "account"}
COUNT = {"query": "SELECT event, count(*) AS n FROM visits GROUP BY ALL ORDER BY event"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    place: Path = tmp_path_factory.mktemp("analysts") / "lake"
    writer = LakeWriter(place)
    rows = [event_row(f"2026-03-2{day}T10:00:00", f"u{day}", "click") for day in range(1, 4)]
    writer.append([*rows, event_row("2026-03-21T10:00:00", "u1", "click", is_bot=True)])
    writer.append([event_row("2026-03-21T11:00:00", "u9", "foreign", project=2)])
    letters = [
        DeadLetter(0, 5, 0, "malformed", b'{"a\xff', 1_700_000_000_000, project=1),
        DeadLetter(0, 6, 0, "invalid event", b"{}", 1_700_000_001_000, project=1),
        DeadLetter(0, 7, 0, "malformed", b"secret", 1_700_000_002_000, project=2),
        DeadLetter(0, 8, 0, "malformed", b"nobody's", 1_700_000_003_000),
    ]
    table = FencedTable(place, "dead_letters", CHAIN)
    assert table.append(dead_letters_table(letters), {0: Span(None, 9)}, {}, "test") is None
    with surface(place) as client:
        yield client


def test_sql_is_answered_in_json(client: Client) -> None:
    answer = client.post("/api/v1/sql", COUNT, ANALYST)
    assert answer.status_code == 200
    assert answer.json() == {"columns": ["event", "n"], "rows": [["click", 3]], "truncated": False, "version": 2}
    ranged = client.post("/api/v1/sql", COUNT | {"from": "2026-03-22", "to": "2026-03-22"}, ANALYST)
    assert ranged.json()["rows"] == [["click", 1]]
    odd = "SELECT timestamp, date, {'a': 1} AS s, 'x'::BLOB AS b, 1::DECIMAL(4,2) AS d, NULL AS n FROM events LIMIT 1"
    assert len(client.post("/api/v1/sql", {"query": odd}, ANALYST).json()["rows"][0]) == 6


def test_sql_is_answered_as_an_arrow_stream(client: Client) -> None:
    accept = ANALYST | {"Accept": "application/vnd.apache.arrow.stream"}
    answer = client.post("/api/v1/sql", COUNT, accept)
    assert answer.headers["content-type"] == "application/vnd.apache.arrow.stream"
    table = pa.ipc.open_stream(answer.content).read_all()
    assert table.to_pylist() == [{"event": "click", "n": 3}]
    assert answer.headers["streamgauge-truncated"] == "false"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Missing required field: query"),
        ({"query": 5}, "Invalid field: query"),
        ({"query": "x" * 100_001}, "Invalid field: query, at most 100000 characters"),
        ({"query": "DROP TABLE events"}, "The statement was refused: only SELECT is possible here, not DROP"),
        ({"query": "SELECT 1; SELECT 2"}, "The statement was refused: give one statement, not 2"),
        ({"query": "FROM secrets"}, "The statement was refused: no table 'secrets'"),
        ({"query": "SELECT luck FROM events"}, "The statement was refused: Binder Error"),
        ({"query": "SELECT 1", "from": "tomorrow"}, "Invalid parameter: from"),
    ],
)
def test_sql_that_is_refused(client: Client, body: Any, message: str) -> None:
    answer = client.post("/api/v1/sql", body, ANALYST)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert answer.json()["message"].startswith(message)


def test_sql_needs_its_scope(client: Client) -> None:
    assert client.post("/api/v1/sql", COUNT).status_code == 403
    assert client.post("/api/v1/sql?projectId=2", COUNT, ANALYST).status_code == 403


def test_files_are_those_of_the_version(client: Client, tmp_path: Path) -> None:
    body = client.get("/api/v1/lake/files", headers=ACCOUNT).json()
    assert body["meta"] == {"total": len(body["data"]), "table": "events", "version": 2}
    assert sum(file["rows"] for file in body["data"]) == 5
    assert all(file["bytes"] > 0 and file["path"].startswith("date=2026-03-") for file in body["data"])
    first = client.get("/api/v1/lake/files", {"version": "1"}, ACCOUNT).json()
    assert sum(file["rows"] for file in first["data"]) == 4
    assert client.get("/api/v1/lake/files", {"table": "rollups"}, ACCOUNT).json()["meta"]["table"] == "rollups"


def test_files_are_for_accounts(client: Client) -> None:
    answer = client.get("/api/v1/lake/files")
    assert answer.status_code == 403
    assert "/api/v1/events/export" in answer.json()["message"]
    for params in ({"version": "3"}, {"version": "x"}, {"table": "accounts"}):
        assert client.get("/api/v1/lake/files", params, ACCOUNT).status_code == 400


def test_versions_whose_log_is_gone(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path)
    for hour in range(3):
        writer.append([event_row(f"2026-03-21T0{hour}:00:00", "u1")])
    DeltaTable(str(tmp_path / "events")).create_checkpoint()
    for version in range(3):
        (tmp_path / "events" / "_delta_log" / f"{version:020}.json").unlink()
    with surface(tmp_path) as client:
        answer = client.get("/api/v1/lake/files", {"version": "1"}, ACCOUNT)
        assert (answer.status_code, answer.json()["error"]) == (410, "gone")
        overview = client.get("/api/v1/overview", {"asOf": "1"})
        assert (overview.status_code, overview.json()["error"]) == (410, "gone")


def test_dead_letters_of_one_project(client: Client) -> None:
    span = {"from": "2023-11-01", "to": "2023-12-01"}
    body = client.get("/api/v1/dead-letters", span).json()
    assert body["meta"] == {"total": 2, "limit": 100, "hasMore": False}
    assert [letter["offset"] for letter in body["data"]] == [6, 5]
    assert body["data"][1] == {
        "reason": "malformed",
        "detail": None,
        "partition": 0,
        "offset": 5,
        "index": 0,
        "raw": '{"a\\xff',
        "receivedAt": "2023-11-14T22:13:20Z",
    }
    some = client.get("/api/v1/dead-letters", span | {"reason": "invalid event", "limit": "1"}).json()
    assert [letter["offset"] for letter in some["data"]] == [6]
    assert client.get("/api/v1/dead-letters").json()["data"] == []
    assert client.get("/api/v1/dead-letters", {"reason": "luck"}).status_code == 400
