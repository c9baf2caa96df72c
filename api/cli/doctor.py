"""`streamgauge doctor`: everything that can be wrong, looked at one by one, each with what to do."""

import contextlib
import json as json_library
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from api.cli import embedded
from api.cli.connection import resolve
from api.cli.options import DataDir, Json, load
from api.cli.output import Failure, say, say_json, say_table, working
from api.cli.running import Running, describe, get_status, read_running
from api.cli.serve import listen
from api.cli.settings import list_settings
from api.log.disk import is_embedded
from api.log.topics import check_topics, group_lag
from api.settings import ApiSettings
from storage.errors import StorageError
from storage.lake.audit import audit
from storage.lake.place import place_at
from storage.lake.selftest import check_fence
from storage.lake.snapshot import TableReader
from storage.lake.tables import TABLES, has_tables
from storage.meta.engine import open_metadata
from storage.meta.projects import list_projects

_MARKS: Final = {"ok": "ok   ", "note": "note ", "bad": "WRONG"}
# Below this the door answers 503 (`api.log.disk`); doctor says so before it happens.
_DISK_MARGIN: Final = 1.5


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found."""

    subject: str
    state: Literal["ok", "note", "bad"]
    message: str


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at: the settings with the log filled in where it is known, and the running `up`, if one runs."""

    settings: ApiSettings
    running: Running | None

    @property
    def is_embedded(self) -> bool:
        """Whether the log is the data directory's own broker."""
        settings = self.settings
        return not settings.kafka_bootstrap_servers or is_embedded(
            settings.directory.broker_file, settings.kafka_bootstrap_servers
        )


Check = Callable[[Patient], Iterator[Finding]]


def doctor(
    data_dir: DataDir = None,
    settings: Annotated[bool, typer.Option("--settings", help="List every setting instead.")] = False,
    json: Json = False,
) -> None:
    """Check everything that Streamgauge needs, and say what to do."""
    if settings:
        _show_settings(json)
        return
    with working("looking at everything"):
        findings = examine(_patient(load(ApiSettings, data_dir)))
    if json:
        say_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            say(f"{_MARKS[finding.state]} {finding.subject}: {finding.message}")
    wrong = sum(finding.state == "bad" for finding in findings)
    if wrong:
        raise Failure(f"{wrong} of {len(findings)} checks found something wrong")


def examine(patient: Patient) -> list[Finding]:
    """All findings; a check that cannot be made is a finding too."""
    return [finding for subject, check in CHECKS.items() for finding in _attempt(subject, check, patient)]


def _attempt(subject: str, check: Check, patient: Patient) -> Iterator[Finding]:
    try:
        yield from check(patient)
    except Exception as error:  # whatever it is, the other checks are made as well
        yield Finding(subject, "bad", " ".join(str(error).split()) or type(error).__name__)


def _patient(settings: ApiSettings) -> Patient:
    running = read_running(settings.directory.run)
    with contextlib.suppress(StorageError):  # the check of the log says so
        settings = resolve(settings)
    if running is not None:  # where it listens, whatever this shell's settings say
        settings = settings.model_copy(update={"host": running.host, "port": running.port})
    return Patient(settings, running)


def _check_directory(patient: Patient) -> Iterator[Finding]:
    directory = patient.settings.directory
    if not directory.root.exists():
        yield Finding("data directory", "note", f"{directory.root} does not exist yet; `streamgauge up` makes it")
        return
    shared = {directory.root, directory.lake} if patient.settings.lake_group_readable else set()
    paths = (directory.root, directory.lake, directory.kafka, directory.run, directory.logs)
    wrong = [message for path in paths for message in _wrong_with(path, 0o750 if path in shared else 0o700)]
    for message in wrong:
        yield Finding("data directory", "bad", message)
    if not wrong:
        yield Finding("data directory", "ok", f"{directory.root} is closed to others, and writable")


def _wrong_with(path: Path, mode: int) -> Iterator[str]:
    if not path.exists():
        yield f"{path} is missing; `streamgauge up` makes it"
        return
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield f"{path} is not writable for this user; run as its owner, or `chown -R` it"
    if stat.S_IMODE(path.stat().st_mode) & ~mode:
        yield f"{path} is open to other users; `chmod {mode:o} {path}`"


def _check_disk(patient: Patient) -> Iterator[Finding]:
    path = patient.settings.directory.root
    while not path.exists():
        path = path.parent
    usage = shutil.disk_usage(path)
    needed = max(patient.settings.min_free_bytes, usage.total * 0.05)
    message = f"{usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.1f}"
    if usage.free < needed * _DISK_MARGIN:
        advice = f"below {needed / 1e9:.1f} GB events are refused; make room, or move the data directory"
        yield Finding("disk", "bad", f"{message}; {advice}")
    else:
        yield Finding("disk", "ok", message)


def _check_software(patient: Patient) -> Iterator[Finding]:
    if patient.is_embedded:
        artifact = embedded.find(load(embedded.BrokerSettings))
        yield Finding("broker software", "ok", f"{len(artifact.classpath)} jars are verified, Java is {artifact.java}")


def _check_log(patient: Patient) -> Iterator[Finding]:
    settings = resolve(patient.settings)
    flush_messages = load(embedded.BrokerSettings).broker_flush_messages if patient.is_embedded else None
    wrong = check_topics(settings, flush_messages)
    yield Finding("log", "ok", f"Kafka answers at {settings.kafka_bootstrap_servers}")
    for line in wrong:
        yield Finding("topics", "bad", f"{line}; the next start of `streamgauge up` puts right what it may")
    if not wrong:
        yield Finding("topics", "ok", f"{settings.kafka_topic} and {settings.kafka_live_topic} are as they must be")
    yield _lag(settings)


def _lag(settings: ApiSettings) -> Finding:
    lag = group_lag(settings)
    total = sum(lag.values())
    worst = max(lag, key=lambda partition: lag[partition], default=0)
    message = f"{total} records not yet in the lake" + (f", most of them in partition {worst}" if total else "")
    return Finding("lag", "note" if total else "ok", message)


def _check_lake(patient: Patient) -> Iterator[Finding]:
    lake = place_at(patient.settings.lake_place)
    if not has_tables(lake):
        yield Finding("lake", "note", f"no tables at {lake} yet; `streamgauge up` makes them")
        return
    versions = {name: TableReader(lake, name).version() for name in TABLES}
    yield Finding("lake", "ok", ", ".join(f"{name} at version {version}" for name, version in versions.items()))
    check_fence(lake)
    yield Finding("lake's storage", "ok", "refuses the second of two writers, as it must")


def _check_audit(patient: Patient) -> Iterator[Finding]:
    lake = place_at(patient.settings.lake_place)
    if not has_tables(lake):
        return
    result = audit(lake)
    for failure in result.failures:
        yield Finding("audit", "bad", f"{failure}; `streamgauge lake verify --scan` looks closer")
    if result.is_ok:
        yield Finding("audit", "ok", f"all {len(result.checks)} equations between lines, rows and rollups hold")


def _check_metadata(patient: Patient) -> Iterator[Finding]:
    settings = patient.settings
    if not settings.directory.run.exists():
        yield Finding("metadata", "note", "none yet; `streamgauge up` or `streamgauge init` makes it")
        return
    with open_metadata(settings.metadata_url, settings.directory.key_revision) as metadata:
        count = len(list_projects(metadata, None))
    where = "DATABASE_URL" if settings.database_url else "meta.db"
    yield Finding("metadata", "ok", f"{where} opens, {count} project{'' if count == 1 else 's'}")


def _check_port(patient: Patient) -> Iterator[Finding]:
    settings = patient.settings
    if patient.running is None:
        with closing(listen(settings.host, settings.port)):
            yield Finding("port", "ok", f"{settings.port} on {settings.host} is free")


def _check_processes(patient: Patient) -> Iterator[Finding]:
    if patient.running is None:
        yield Finding("processes", "bad", "nothing runs on this data directory; start it with `streamgauge up`")
        return
    logs = patient.settings.directory.logs
    for child in describe(patient.settings.directory.run):
        name = str(child["name"])
        if child["ready"]:
            yield Finding(name, "ok", f"runs as {child['pid']}")
        else:
            yield Finding(name, "bad", f"is not ready; see {logs / name}.log and {logs / name}.stdout")


def _check_ready(patient: Patient) -> Iterator[Finding]:
    if patient.running is None:
        return
    status, body = get_status(patient.running.host, patient.running.port, "/health/ready")
    if status == 200:
        yield Finding("API", "ok", f"ready at {patient.running.url}")
    elif status == 0:
        yield Finding("API", "bad", f"does not answer at {patient.running.url}; see logs/api.log")
    else:
        for reason in json_library.loads(body).get("reasons", ["it does not say why"]):
            yield Finding("API", "bad", f"not ready: {reason}")


CHECKS: dict[str, Check] = {
    "data directory": _check_directory,
    "disk": _check_disk,
    "broker software": _check_software,
    "port": _check_port,
    "processes": _check_processes,
    "log": _check_log,
    "lake": _check_lake,
    "audit": _check_audit,
    "metadata": _check_metadata,
    "API": _check_ready,
}


def _show_settings(json: bool) -> None:
    settings = list_settings()
    if json:
        say_json([setting.to_json() for setting in settings])
        return
    rows = [(setting.name, setting.default, setting.process, setting.description) for setting in settings]
    say_table(("NAME", "DEFAULT", "READ BY", "MEANING"), rows)
