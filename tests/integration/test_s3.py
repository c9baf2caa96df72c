"""The river into a lake in an S3-compatible store: HTTP -> Kafka -> worker -> store -> HTTP."""

import json
import os
import signal
from collections import Counter
from pathlib import Path

import httpx
import polars as pl
import pytest
from deltalake import DeltaTable

from storage.lake.place import S3Place
from storage.lake.tables import TABLES, table_uri
from tests.integration.system import System, running, wait_until
from tests.s3 import Store

pytestmark = pytest.mark.timeout(300)


def _send(system: System, first: int, end: int) -> None:
    events = [{"event": "view", "userId": f"p-{n % 5}", "eventId": f"s3-{n}"} for n in range(first, end)]
    with system.client("ingest") as producer:
        answer = producer.post("/api/v1/events/batch", json={"events": events})
    assert answer.status_code == 200, answer.text


def _total(system: System) -> int:
    with system.client("read") as reader:
        answer = reader.get("/api/v1/events", params={"event": "view", "limit": 1})
    assert answer.status_code == 200, answer.text
    return int(answer.json()["meta"]["total"])


def _ready(system: System) -> str:
    return httpx.get(f"{system.url}/health/ready", timeout=20).text


def test_events_go_into_the_store_and_are_answered_from_it(
    s3: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place: S3Place = s3.place()
    monkeypatch.setenv("STREAMGAUGE_LAKE_URI", str(place))
    with running(tmp_path / "data") as system:
        system.initialise()
        _send(system, 0, 40)
        wait_until(lambda: _total(system) == 40, 30, system.logs)
        os.kill(system.pid("worker-0"), signal.SIGKILL)
        _send(system, 40, 60)
        wait_until(lambda: _total(system) == 60, 90, system.logs)

        os.kill(s3.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: "lake does not answer" in _ready(system), 30, system.logs)
            _send(system, 60, 70)  # what is accepted waits in the log
        finally:
            os.kill(s3.pid, signal.SIGCONT)
        wait_until(lambda: _total(system) == 70, 90, system.logs)
        wait_until(lambda: '"ready"' in _ready(system), 60, system.logs)

        assert json.loads(system.run("sql", "SELECT count(*) AS n FROM events", "--format", "json")) == [{"n": 70}]
        assert json.loads(system.run("lake", "verify", "--scan", "--json"))["ok"]
        assert "refuses the second of two writers" in system.run("doctor")
        assert (tmp_path / "data" / "lake" / "lake.sql").read_text().count(str(place))

    files = DeltaTable(table_uri(place, "events")).file_uris()
    ids = pl.read_parquet(files, columns=["event_id"], hive_partitioning=False)["event_id"].to_list()
    assert Counter(ids) == Counter(f"s3-{n}" for n in range(70))
    assert not any((tmp_path / "data" / "lake" / name).exists() for name in TABLES)
