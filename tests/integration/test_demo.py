"""The demo against a real `up`: its answers, and that loading twice adds nothing."""

import os
import subprocess
from collections.abc import Iterator

import polars as pl
import pytest

from api.demo.flights import census, flights_file, read_flights
from tests.integration.system import COMMAND, System, running, wait_until

pytestmark = pytest.mark.timeout(300)
FLIGHTS = 3000


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running(tmp_path_factory.mktemp("demo"), workers="2") as system:
        yield system


def demo(system: System, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"STREAMGAUGE_DATA_DIR": str(system.data)}
    command = [COMMAND, "demo", "--flights", str(FLIGHTS), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)


def history(system: System) -> pl.DataFrame:
    return system.table("events").filter(pl.col("event_id").str.starts_with("flight-"))


def test_the_demo_loads_once_however_often_it_runs(system: System) -> None:
    first = demo(system, "--replay-seconds", "3")
    assert first.returncode == 0, first.stdout + first.stderr + system.logs()
    assert "  NO  " not in first.stdout
    assert "curl" in first.stdout
    expected = census(read_flights(flights_file(), FLIGHTS))
    rows = history(system)
    assert rows["event_id"].n_unique() == len(rows) == FLIGHTS
    assert rows.filter(pl.col("distinct_id") != "")["distinct_id"].n_unique() == len(expected.tails)
    replayed = len(system.table("events")) - FLIGHTS
    assert f"replayed now: {replayed:,} flights sent, {replayed:,} in the lake" in first.stdout
    assert replayed > 100

    second = demo(system, "--replay-seconds", "0")
    assert second.returncode == 0, second.stdout + second.stderr + system.logs()
    assert len(history(system)) == FLIGHTS
    wait_until(lambda: "mismatch" not in system.run("lake", "verify"), 10)


def test_an_answer_that_differs_is_a_failure(system: System) -> None:
    """One flight too many, from somebody else, in the project of the demo."""
    [project] = history(system)["project_id"].unique()
    made = system.run(
        *("keys", "create", "--email", "demo@streamgauge.invalid", "--scope", "ingest", "--project", str(project))
    )
    system.keys = {"ingest": made.strip()}
    event = {"event": "flight", "eventId": "flight-0", "userId": "X", "timestamp": "2013-01-01T12:00:00Z"}
    with system.client("ingest") as client:
        assert client.post("/api/v1/events", json=event).status_code == 200
    wait_until(lambda: len(history(system)) == FLIGHTS + 1, 30, system.logs)

    third = demo(system, "--replay-seconds", "0")
    assert third.returncode == 1
    assert "  NO  " in third.stdout
    assert "answers differ from the file" in third.stderr
