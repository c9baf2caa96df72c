"""The disk watch: only for the embedded broker, and before the disk is full."""

import asyncio
import json
from pathlib import Path

import pytest

from api.log.disk import is_embedded, is_full, watch_disk
from tests.api.serving import serve_fake, wait_until


def test_the_embedded_broker_is_known_by_its_port(tmp_path: Path) -> None:
    file = tmp_path / "broker.json"
    assert not is_embedded(file, "127.0.0.1:19092")
    file.write_text(json.dumps({"pid": 1, "port": 19092, "controllerPort": 19093, "clusterId": "x"}))
    assert is_embedded(file, "127.0.0.1:19092")
    assert is_embedded(file, "localhost:19092")
    assert not is_embedded(file, "127.0.0.1:19093")
    assert not is_embedded(file, "kafka.example:19092")
    assert not is_embedded(file, None)


@pytest.mark.parametrize("content", ["", "[]", "{}", "nonsense"])
def test_a_damaged_file_names_no_broker(tmp_path: Path, content: str) -> None:
    file = tmp_path / "broker.json"
    file.write_text(content)
    assert not is_embedded(file, "127.0.0.1:19092")


def test_a_disk_is_full_below_the_limit(tmp_path: Path) -> None:
    assert is_full(tmp_path, 10**18)


def test_the_watch_tells_and_survives_a_lost_directory(tmp_path: Path) -> None:
    async def first(directory: Path) -> bool:
        told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        watch = asyncio.create_task(watch_disk(directory, 10**18, told.set_result))
        try:
            return await asyncio.wait_for(told, 10)
        finally:
            watch.cancel()

    assert asyncio.run(first(tmp_path))
    assert asyncio.run(first(tmp_path / "gone"))


def test_the_door_closes_while_the_disk_is_full(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "broker.json").write_text(json.dumps({"port": 19092}))
    with serve_fake(tmp_path, kafka_bootstrap_servers="127.0.0.1:19092", min_free_bytes=10**18) as api:
        wait_until(lambda: api.client.post("/api/v1/events", json={"event": "a"}).status_code == 503)
        response = api.client.post("/api/v1/events", json={"event": "a"})
        assert response.json()["error"] == "unavailable"
        assert 1 <= int(response.headers["retry-after"]) <= 5
        wait_until(lambda: api.client.get("/health/ready").json()["reasons"] == ["log takes no events: disk full"])


def test_another_brokers_disk_is_not_watched(tmp_path: Path) -> None:
    with serve_fake(tmp_path, kafka_bootstrap_servers="kafka.example:9092", min_free_bytes=10**18) as api:
        assert api.client.post("/api/v1/events", json={"event": "a"}).status_code == 200
        assert api.client.get("/health/ready").status_code == 200
