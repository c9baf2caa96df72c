"""What doctor finds on data directories that are well, new, open, or not running."""

import json
import socket
from pathlib import Path

import pytest

from api.cli import doctor
from api.cli.doctor import Finding, Patient, examine
from api.cli.main import main
from api.cli.running import Member, Running, UpLock, write_running
from api.settings import ApiSettings
from storage.lake.tables import create_tables
from storage.meta.engine import open_metadata


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ApiSettings:
    for name in ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)
    return ApiSettings(data_dir=tmp_path / "data", min_free_bytes=0)


def found(patient: Patient, subject: str) -> list[Finding]:
    return [finding for finding in examine(patient) if finding.subject == subject]


def prepared(settings: ApiSettings) -> Patient:
    directory = settings.directory.create()
    create_tables(directory.lake)
    with open_metadata(settings.metadata_url, directory.key_revision) as metadata:
        metadata.migrate()
    return Patient(settings, None)


def test_a_new_directory_is_no_fault_but_nothing_runs(settings: ApiSettings) -> None:
    findings = examine(Patient(settings, None))

    states = {finding.subject: finding.state for finding in findings}
    assert (states["data directory"], states["lake"], states["metadata"]) == ("note", "note", "note")
    assert (states["processes"], states["log"]) == ("bad", "bad")
    assert not settings.data_dir.exists()


def test_lake_and_metadata_open(settings: ApiSettings) -> None:
    patient = prepared(settings)

    assert found(patient, "lake")[0].message.startswith("events at version 0, ")
    assert [finding.state for finding in found(patient, "audit")] == ["ok"]
    assert found(patient, "metadata") == [Finding("metadata", "ok", "meta.db opens, 0 projects")]


def test_a_lake_that_cannot_be_opened_is_wrong(settings: ApiSettings) -> None:
    patient = prepared(settings)
    (settings.directory.lake / "rollups" / "_delta_log" / f"{0:020}.json").write_text("{")

    assert [finding.state for finding in found(patient, "lake")] == ["bad"]
    assert found(patient, "metadata")[0].state == "ok"


def test_a_directory_open_to_others_is_wrong_and_says_what_to_do(settings: ApiSettings) -> None:
    patient = prepared(settings)
    settings.directory.logs.chmod(0o755)

    message = f"{settings.directory.logs} is open to other users; `chmod 700 {settings.directory.logs}`"
    assert found(patient, "data directory") == [Finding("data directory", "bad", message)]


def test_a_lake_shared_with_the_group_may_be_open_to_it(settings: ApiSettings) -> None:
    prepared(settings)
    for path in (settings.directory.root, settings.directory.lake):
        path.chmod(0o750)

    assert found(Patient(settings, None), "data directory")[0].state == "bad"
    shared = settings.model_copy(update={"lake_group_readable": True})
    assert found(Patient(shared, None), "data directory")[0].state == "ok"


def test_a_disk_that_is_nearly_full_is_wrong(settings: ApiSettings) -> None:
    assert found(Patient(settings.model_copy(update={"min_free_bytes": 1 << 60}), None), "disk")[0].state == "bad"


def test_a_port_that_is_taken_is_wrong(settings: ApiSettings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = found(Patient(settings.model_copy(update={"port": port}), None), "port")

    assert taken[0].state == "bad"
    assert taken[0].message.startswith(f"port {port} on 127.0.0.1 cannot be used (Address already in use)")


def test_a_child_that_is_not_ready_is_named_with_its_logs(settings: ApiSettings) -> None:
    patient = prepared(settings)
    with UpLock(settings.directory.run), socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # taken, and nobody listens
        running = Running(1, "127.0.0.1", deaf.getsockname()[1], "", (Member("worker-0", 1),))
        write_running(settings.directory.run, running)
        findings = examine(Patient(patient.settings, running))

    wrong = {finding.subject: finding.message for finding in findings if finding.state == "bad"}
    assert "worker-0.log" in wrong["worker-0"]
    assert wrong["API"].startswith(f"does not answer at {running.url}")


def test_a_check_that_fails_in_an_unforeseen_way_spares_the_others(
    settings: ApiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(doctor.CHECKS, "disk", lambda _: iter([1 // 0]))

    findings = examine(Patient(settings, None))

    assert Finding("disk", "bad", "integer division or modulo by zero") in findings
    assert len({finding.subject for finding in findings}) > 4


def test_the_command_fails_in_one_line_when_something_is_wrong(
    settings: ApiSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--data-dir", str(settings.data_dir), "--json"])

    printed = capsys.readouterr()
    assert ended.value.code == 1
    assert {"subject", "state", "message"} == set(json.loads(printed.out)[0])
    assert printed.err.count("\n") == 1
    assert "checks found something wrong" in printed.err


def test_settings_are_listed_with_name_default_and_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", "--settings", "--json"])

    listed = {setting["name"]: setting for setting in json.loads(capsys.readouterr().out)}
    assert listed["STREAMGAUGE_DATA_DIR"]["default"] == "data"
    assert listed["STREAMGAUGE_PORT"] == {
        "process": "API",
        "name": "STREAMGAUGE_PORT",
        "default": "8000",
        "description": "Port the API listens on.",
    }
    assert listed["DATABASE_URL"]["default"] == ""
    assert listed["STREAMGAUGE_FLUSH_AGE_SECONDS"]["process"] == "workers"
    assert all(setting["description"] for setting in listed.values())


def test_settings_for_people_are_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", "--settings"])

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "DEFAULT", "READ", "BY", "MEANING"]
    assert any(line.startswith("KAFKA_BOOTSTRAP_SERVERS ") for line in lines)
