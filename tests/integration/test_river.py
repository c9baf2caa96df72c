"""One event's way, and many: HTTP -> Kafka -> worker -> lake -> HTTP, on the real processes."""

import json
import os
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import httpx
import polars as pl
import pytest
from confluent_kafka import Producer
from deltalake import DeltaTable

from tests.integration.system import System, running, wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running(tmp_path_factory.mktemp("river")) as system:
        system.initialise()
        yield system


def rows_of(system: System, prefix: str) -> pl.DataFrame:
    events = system.table("events")
    return events.filter(pl.col("event_id").str.starts_with(prefix)) if len(events) else events


def post(client: httpx.Client, events: list[dict[str, Any]]) -> list[str]:
    answer = client.post("/api/v1/events/batch", json={"events": events})
    assert answer.status_code == 200, answer.text
    ids: list[str] = answer.json()["eventIds"]
    return ids


def test_what_up_says_comes_next_can_be_pasted(system: System) -> None:
    """Also where the environment it was installed into is not on PATH."""
    [line] = [line for line in (system.data / "up.out").read_text().splitlines() if " ps --data-dir " in line]
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)
    assert "worker-0" in done.stdout


def test_one_event_is_answered_counted_and_stored(system: System) -> None:
    sent = {"event": "button_click", "properties": {"buttonId": "signup"}, "userId": "user-123", "eventId": "one-1"}
    with system.client("ingest") as producer, system.client("read") as reader:
        answer = producer.post("/api/v1/events", json=sent)
        assert answer.status_code == 200
        assert answer.json()["eventId"] == "one-1"
        wait_until(lambda: reader.get("/api/v1/realtime").json()["events"] >= 1, 10)

        def stored() -> list[dict[str, Any]]:
            listed = reader.get("/api/v1/events", params={"event": "button_click"}).json()
            return [event for event in listed["data"] if event["eventId"] == "one-1"]

        found = wait_until(stored, 15, system.logs)
    assert found == [
        {
            "eventId": "one-1",
            "event": "button_click",
            "properties": {"buttonId": "signup"},
            "userId": "user-123",
            "timestamp": answer.json()["receivedAt"].replace(".000Z", "Z"),
            "source": "api",
        }
    ]


def test_accepted_ids_are_lake_rows_once_and_all_counts_agree(system: System) -> None:
    seed = 20261124
    chance = random.Random(seed)
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=2)
    names = ["view", "cart", "buy"]
    sent = [
        {
            "event": chance.choice(names),
            "userId": f"person-{chance.randrange(200)}",
            "eventId": f"all-{number}",
            "timestamp": (now - timedelta(seconds=chance.randrange(60))).isoformat(),
        }
        for number in range(3000)
    ]
    with system.client() as client:
        accepted = [id_ for start in range(0, 3000, 500) for id_ in post(client, sent[start : start + 500])]
        again = post(client, sent[:500])  # a client that did not hear the answer
        assert accepted == [event["eventId"] for event in sent]
        assert again == accepted[:500]
        wait_until(lambda: len(rows_of(system, "all-")) >= 3000, 30, system.logs)

        rows = rows_of(system, "all-")
        assert sorted(rows["event_id"]) == sorted(accepted)
        assert rows.select("kafka_partition", "kafka_offset", "record_index").is_unique().all()

        expected = Counter(event["event"] for event in sent)
        assert dict(rows.group_by("event").len().iter_rows()) == expected
        # Rollups follow their events in a commit of their own.
        wait_until(lambda: rollup_counts(system, names) == expected, 10, system.logs)
        since = (now - timedelta(hours=2)).isoformat()
        # The API looks at its tables twice a second.
        wait_until(lambda: metric_counts(client, names, since, "false") == expected, 5, system.logs)
        assert metric_counts(client, names, since, "true") == expected
        live = wait_until(
            lambda: live_counts(client, names) == expected and live_counts(client, names), 10, system.logs
        )
        assert live == expected


def metric_counts(client: httpx.Client, names: list[str], since: str, exact: str) -> dict[str, int]:
    """Events by name, as the metrics say."""
    params = {"metric": "events_count", "from": since, "interval": "hour", "exact": exact}
    points = {name: client.get("/api/v1/metrics", params=params | {"event": name}).json()["data"] for name in names}
    return {name: sum(point["value"] for point in data) for name, data in points.items()}


def rollup_counts(system: System, names: list[str]) -> dict[str, int]:
    rollups = system.table("rollups").filter(pl.col("event").is_in(names))
    return dict(rollups.group_by("event").agg(pl.col("count").sum()).iter_rows())


def live_counts(client: httpx.Client, names: list[str]) -> dict[str, int]:
    top = client.get("/api/v1/realtime", params={"minutes": 30}).json()["topEvents"]
    return {entry["name"]: entry["count"] for entry in top if entry["name"] in names}


def test_an_event_of_a_kafka_client_becomes_the_same_row(system: System) -> None:
    event = {
        "event": "page_view",
        "userId": "traveller",
        "sessionId": "s1",
        "timestamp": "2026-02-22T10:30:00.142Z",
        "properties": {"plan": "pro", "price": 12.5},
        "context": {
            "url": "https://www.example.com/pricing?utm_source=news&utm_medium=email&utm_campaign=spring",
            "title": "Pricing",
            "referrer": "https://www.google.com/search?q=x",
            "userAgent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/120.0.0.0 Safari/537.36",
        },
    }
    with system.client("ingest") as client:
        assert client.post("/api/v1/events", json={**event, "eventId": "way-door"}).status_code == 200
    broker = json.loads((system.data / "run" / "broker.json").read_text())
    producer = Producer({"bootstrap.servers": f"127.0.0.1:{broker['port']}"})
    line = json.dumps({**event, "eventId": "way-kafka", "projectId": system.project})
    producer.produce("streamgauge.events", f"{line}\nnot json\n".encode())
    assert producer.flush(10) == 0
    rows = wait_until(lambda: len(found := rows_of(system, "way-").sort("event_id").to_dicts()) == 2 and found, 30)
    door, direct = rows
    own = {"event_id", "received_at", "source", "kafka_partition", "kafka_offset", "record_index"}
    assert {k: v for k, v in door.items() if k not in own} == {k: v for k, v in direct.items() if k not in own}
    assert (door["source"], direct["source"]) == ("api", "kafka")
    assert door["channel"] is not None
    assert door["browser"] == "Chrome"
    letters = system.table("dead_letters")
    assert letters.select("reason", "raw", "record_index").to_dicts() == [
        {"reason": "malformed", "raw": b"not json", "record_index": 1}
    ]


def test_the_published_lake_opens_without_us(system: System) -> None:
    expected = len(system.table("events"))
    assert expected > 0

    def seen() -> bool:
        with duckdb.connect(str(system.data / "lake" / "lake.duckdb"), read_only=True) as lake:
            row = lake.execute("SELECT count(*) FROM events").fetchone()
        return row is not None and row[0] == expected

    wait_until(seen, 15, system.logs)
    said = json.loads(system.run("sql", "SELECT count(*) AS n FROM events", "--format", "json"))
    assert said == [{"n": expected}]


def test_the_books_add_up(system: System) -> None:
    assert "mismatch" not in system.run("lake", "verify").lower()
    totals = DeltaTable(str(system.data / "lake" / "events"))
    assert totals.version() > 0


def test_a_project_sees_only_its_own(system: System) -> None:
    mine = system.keys
    system.run("init", "--email", "b@example.com", "--password", "another pass", "--project", "other", "--json")
    made = json.loads(
        system.run("init", "--email", "b@example.com", "--password", "another pass", "--project", "other", "--json")
    )
    headers = {"X-API-Key": made["keys"]["read"]}
    answer = httpx.get(f"{system.url}/api/v1/events", headers=headers, params={"from": "2020-01-01"})
    assert answer.json()["data"] == []
    assert answer.json()["meta"]["total"] == 0
    assert httpx.get(f"{system.url}/api/v1/realtime", headers=headers).json()["events"] == 0
    assert system.keys == mine


def test_a_stop_loses_nothing_and_leaves_no_process(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data, workers="2") as first:
        first.initialise()
        with first.client("ingest") as client:
            sent = post(client, [{"event": "late", "userId": f"u{n}", "eventId": f"stop-{n}"} for n in range(400)])
        pids = [entry["pid"] for entry in first.processes().values()]
        assert len(pids) >= 5
    assert [pid for pid in pids if is_alive(pid)] == []
    assert sorted(rows_of(first, "stop-")["event_id"]) == sorted(sent)
    with running(data) as second:
        second.keys = first.keys
        with second.client("read") as client:
            listed = client.get("/api/v1/events", params={"event": "late"}).json()
        assert listed["meta"]["total"] == 400


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "zombie" not in Path(f"/proc/{pid}/status").read_text() if Path("/proc").exists() else True
