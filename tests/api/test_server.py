"""The process: it says when it serves, answers what is in flight, and ends with an honest status."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from schemas.projects import Dialect, Scope
from storage.meta.accounts import ensure_account
from storage.meta.engine import open_metadata
from storage.meta.keys import KeySpec, create_key
from storage.meta.projects import ensure_project
from storage.settings import StorageSettings
from tests.api.log.kafka import read_topic, topic
from tests.api.log.test_outage import Senders, ids_of
from tests.api.serving import wait_until


def prepare(directory: Path) -> str:
    """The secret of a key in a new data directory."""
    settings = StorageSettings(data_dir=directory)
    settings.directory.create()
    now = datetime.now(UTC)
    with open_metadata(settings.metadata_url, settings.directory.key_revision) as metadata:
        metadata.migrate()
        account = ensure_account(metadata, "a@shop.example", "a long password", now)
        project = ensure_project(metadata, account.id, "Shop", "shop.example", now)
        return create_key(metadata, KeySpec(account.id, Dialect.JCHT, Scope.INGEST, project.id), now).secret


@contextmanager
def process(
    directory: Path, servers: str, name: str, *arguments: str, **settings: str
) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {
        "STREAMGAUGE_DATA_DIR": str(directory),
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "STREAMGAUGE_KAFKA_TOPIC": name,
        **settings,
    }
    command = [sys.executable, "-m", "api", *arguments]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
        return port


def test_stopping_under_load_answers_and_keeps_everything(kafka: str, tmp_path: Path) -> None:
    secret, port, ready = prepare(tmp_path), free_port(), tmp_path / "run" / "api.ready"
    with (
        topic(kafka) as name,
        process(tmp_path, kafka, name, "--logs", str(tmp_path / "logs"), STREAMGAUGE_PORT=str(port)) as child,
    ):
        wait_until(lambda: ready.exists() or child.poll() is not None, 30, "the ready file")
        assert int(ready.read_text()) == child.pid
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": secret}) as client:
            assert client.post("/api/v1/events", json={"event": "a"}).status_code == 200
            assert "server" not in client.get("/health/live").headers
            assert "date" not in client.get("/health/live").headers
            with Senders(client) as senders:
                wait_until(lambda: len(senders.accepted) > 100)
                child.send_signal(signal.SIGTERM)
                assert child.wait(30) == 0
                wait_until(lambda: len(senders.broken) == 4, what="four senders without a server")
        assert all(isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError) for error in senders.broken)
        assert not ready.exists()
        assert set(senders.accepted) <= set(ids_of(read_topic(kafka, name)))
        log = (tmp_path / "logs" / "api.log").read_text()
        assert '"process": "api"' in log
        assert secret not in log


def test_a_bound_socket_is_taken_over(kafka: str, tmp_path: Path) -> None:
    prepare(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as bound, topic(kafka) as name:
        environment = os.environ | {
            "STREAMGAUGE_DATA_DIR": str(tmp_path),
            "KAFKA_BOOTSTRAP_SERVERS": kafka,
            "STREAMGAUGE_KAFKA_TOPIC": name,
        }
        command = [sys.executable, "-m", "api", "--name", "api-0", "--fd", str(bound.fileno())]
        with subprocess.Popen(command, env=environment, pass_fds=[bound.fileno()], stderr=subprocess.DEVNULL) as child:
            try:
                wait_until((tmp_path / "run" / "api-0.ready").exists, 30)
                url = f"http://127.0.0.1:{bound.getsockname()[1]}/health/live"
                assert httpx.get(url).json() == {"status": "live"}
                assert httpx.get(url, headers={"X-Long": "x" * 70_000}).status_code == 431
                child.terminate()
                assert child.wait(30) == 0
            finally:
                child.kill()


def test_metrics_may_have_a_port_of_their_own(kafka: str, tmp_path: Path) -> None:
    prepare(tmp_path)
    port, metrics = free_port(), free_port()
    settings = {"STREAMGAUGE_PORT": str(port), "STREAMGAUGE_METRICS_PORT": str(metrics)}
    with topic(kafka) as name, process(tmp_path, kafka, name, **settings) as child:
        wait_until((tmp_path / "run" / "api.ready").exists, 30)
        assert httpx.get(f"http://127.0.0.1:{port}/metrics").status_code == 404
        assert "python_info" in httpx.get(f"http://127.0.0.1:{metrics}/metrics").text
        child.terminate()
        assert child.wait(30) == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"STREAMGAUGE_COUNTRY_FILE": "nowhere.mmdb"}, "country file"),
        ({"STREAMGAUGE_TRUSTED_PROXIES": "nonsense"}, "trusted_proxies"),
    ],
)
def test_settings_that_cannot_work_end_it_with_a_line(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    prepare(tmp_path)
    with process(tmp_path, "127.0.0.1:1", "events", **settings) as child:
        _, stderr = child.communicate(timeout=30)
        assert child.returncode == 1
    assert said in stderr
    assert "Traceback" not in stderr
