"""Accepted events on the real processes: whichever API process is asked shows what came in through any, in a second."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from tests.integration.system import System, running

pytestmark = pytest.mark.timeout(300)

STREAMS = 8


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with running(tmp_path / "data", api_workers="2") as system:
        system.initialise()
        yield system


def shown(response: httpx.Response) -> Iterator[tuple[float, dict[str, Any]]]:
    for line in response.iter_lines():
        if line.startswith("data: "):
            yield time.time(), json.loads(line[6:])


def test_every_process_shows_the_events_of_all_within_a_second(system: System) -> None:
    broker = json.loads((system.data / "run" / "broker.json").read_text())
    producer = Producer({"bootstrap.servers": f"127.0.0.1:{broker['port']}"})
    with ExitStack() as stack:
        # Connections are shared out among the processes: of eight, both have some (but for one time in 128).
        clients = [stack.enter_context(system.client("read")) for _ in range(STREAMS)]
        streams = [shown(stack.enter_context(client.stream("GET", "/api/v1/events/stream"))) for client in clients]
        for number in range(4):
            with system.client("ingest") as sender:  # a connection of its own
                answer = sender.post("/api/v1/events", json={"event": "sale", "eventId": f"sale-{number}"})
            acknowledged = time.time()
            assert answer.status_code == 200
            for stream in streams:
                at, event = next(stream)
                assert (event["event"], event["eventId"]) == ("sale", f"sale-{number}")
                assert at - acknowledged < 1
                assert "127.0.0.1" not in json.dumps(event)
        producer.produce("streamgauge.events", json.dumps({"event": "direct", "projectId": system.project}))
        assert producer.flush(10) == 0
        assert {next(stream)[1]["event"] for stream in streams} == {"direct"}
