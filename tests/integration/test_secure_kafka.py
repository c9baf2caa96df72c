"""A Kafka of somebody else, with TLS and passwords: both Kafka clients get in by the same settings."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.broker.artifact import Artifact
from storage.settings import DataDirectory
from tests.integration.system import COMMAND, running, wait_until
from tests.secure import PASSWORD, SecureKafka, secure_kafka, sign

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def secure(kafka_server: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    with secure_kafka(DataDirectory(tmp_path_factory.mktemp("secure")), kafka_server) as server:
        yield server


def test_one_event_in_and_one_row_out(secure: SecureKafka, tmp_path: Path) -> None:
    with running(tmp_path / "data", secure.environment()) as system:
        system.initialise()
        assert "broker" not in system.processes()
        with system.client("ingest") as client:
            answer = client.post("/api/v1/events", json={"event": "paid", "eventId": "secure-1", "userId": "u"})
        assert answer.status_code == 200, answer.text
        wait_until(lambda: len(system.table("events")), 30, system.logs)
        assert system.table("events")["event_id"].to_list() == ["secure-1"]
        logs = system.logs()
    assert PASSWORD not in logs


@pytest.mark.parametrize(
    ("changed", "words", "setting"),
    [
        ({"KAFKA_SASL_PASSWORD": "wrong"}, "refuses: SASL authentication error: ", "KAFKA_SASL_PASSWORD"),
        (
            {"KAFKA_SASL_MECHANISM": "SCRAM-SHA-256"},
            "refuses: SASL SCRAM-SHA-256 mechanism handshake failed",
            "MECHANISM",
        ),
        ({"KAFKA_SSL_CA_LOCATION": "other.pem"}, "refuses: SSL handshake failed", "KAFKA_SSL_CA_LOCATION"),
        ({"KAFKA_SSL_CA_LOCATION": "missing.pem"}, "cannot be used: ssl.ca.location failed", "KAFKA_"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_doctor_says_in_one_line_why_it_is_not_let_in(
    secure: SecureKafka, tmp_path: Path, changed: dict[str, str], words: str, setting: str
) -> None:
    sign(tmp_path / "server.pem", tmp_path / "other.pem")
    changed = {name: str(tmp_path / value) if value.endswith(".pem") else value for name, value in changed.items()}
    environment = {**os.environ, **secure.environment(**changed), "STREAMGAUGE_DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run([COMMAND, "doctor", "--json"], env=environment, capture_output=True, text=True, timeout=60)
    [finding] = [one for one in json.loads(done.stdout) if one["subject"] == "log"]
    assert (done.returncode, finding["state"]) == (1, "bad")
    assert words in finding["message"]
    assert setting in finding["message"]
    assert "\n" not in finding["message"]


def test_up_ends_with_that_line_soon(secure: SecureKafka, tmp_path: Path) -> None:
    environment = {**os.environ, **secure.environment(KAFKA_SASL_PASSWORD="wrong")}
    command = [COMMAND, "up", "--port", "0", "--data-dir", str(tmp_path / "data")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50)
    assert done.returncode == 1
    assert done.stderr.startswith(f"streamgauge: Kafka at {secure.servers} refuses: SASL authentication error: ")
    assert done.stderr.count("\n") == 1
