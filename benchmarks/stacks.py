"""The systems under measurement as real processes: ours and the naive pipeline, on one Apache Kafka."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import polars as pl
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # exported, though not by name
from deltalake import DeltaTable

from benchmarks.client import Load, LoadReport
from schemas.projects import Dialect, Scope
from storage.broker.artifact import find_or_fetch
from storage.broker.process import Broker
from storage.meta.accounts import ensure_account
from storage.meta.engine import open_metadata
from storage.meta.keys import KeySpec, create_keys
from storage.meta.projects import ensure_project
from storage.settings import DataDirectory

PARTITIONS = 4
_START_SECONDS = 60.0
_STOP_SECONDS = 40.0
_PORTS = iter(range(25000 + os.getpid() % 5000, 32768))


class RunVoid(Exception):
    """A run whose figures mean nothing: something was lost, or did not answer."""


@contextlib.contextmanager
def broker(directory: Path) -> Iterator[Broker]:
    """The embedded Apache Kafka, for as long as the runs last."""
    server = Broker(DataDirectory(directory), find_or_fetch(lambda _: None))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@dataclass(slots=True)
class Processes:
    """Children by name; ended in the order they were started."""

    directory: Path
    environment: dict[str, str]
    _children: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self, name: str, command: Sequence[str], is_ready: Callable[[], bool]) -> None:
        """Start one, and return when it is ready."""
        with (self.directory / f"{name}.out").open("ab") as output:
            child = subprocess.Popen(
                command, env=os.environ | self.environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )
        self._children[name] = child
        wait_until(lambda: is_ready() or child.poll() is not None, _START_SECONDS, f"{name} to start")
        if child.poll() is not None:
            raise RunVoid(f"{name} ended: {(self.directory / f'{name}.out').read_text(errors='replace')[-2000:]}")

    def stop(self, *names: str) -> None:
        """SIGTERM to these, or to all, each waited for."""
        for name in names or tuple(self._children):
            child = self._children.pop(name)
            child.send_signal(signal.SIGCONT)
            child.terminate()
            try:
                child.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def pids(self) -> dict[str, int]:
        return {name: child.pid for name, child in self._children.items()}

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """The process stands still meanwhile; shorter than Kafka's session, so that nobody notices."""
        self._children[name].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._children[name].send_signal(signal.SIGCONT)


class Ours:
    """Streamgauge's own processes on a data directory and topics of their own."""

    name = "ours"
    single_path, batch_path, poll_path = "/api/v1/events", "/api/v1/events/batch", "/api/v1/realtime"

    def __init__(self, brokers: str, directory: Path, projects: int, **settings: object) -> None:
        self.data = DataDirectory(directory).create()
        self.brokers = brokers
        self.topic = f"events-{directory.name}"
        self.port = free_port()
        self.accepted = 0
        environment = {
            "STREAMGAUGE_DATA_DIR": str(directory),
            "STREAMGAUGE_PORT": str(self.port),
            "STREAMGAUGE_RATE_LIMITS": "off",
            "STREAMGAUGE_KAFKA_TOPIC": self.topic,
            "STREAMGAUGE_KAFKA_LIVE_TOPIC": f"live-{directory.name}",
            "STREAMGAUGE_KAFKA_GROUP": directory.name,
            "KAFKA_BOOTSTRAP_SERVERS": brokers,
            "PROMETHEUS_MULTIPROC_DIR": str(self.data.metrics),
            **{f"STREAMGAUGE_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.processes = Processes(directory, environment)
        done = subprocess.run(
            [sys.executable, "-m", "api.cli", "prepare", "--embedded"],
            env=os.environ | environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RunVoid(f"prepare failed: {done.stderr}")
        self.keys, self.projects = self._make_projects(projects)

    def start_api(self) -> None:
        ready = self.data.run / "api.ready"
        self.processes.start("door", [sys.executable, "-m", "api", "--name", "api"], ready.exists)
        wait_until(self._takes_events, _START_SECONDS, "the door to take events")

    def start_worker(self) -> None:
        ready = self.data.run / "worker-0.ready"
        ready.unlink(missing_ok=True)
        self.processes.start("worker", [sys.executable, "-m", "api.cli", "worker"], ready.exists)

    def start_maintenance(self) -> None:
        self.processes.start(
            "maintain", [sys.executable, "-m", "storage.maintenance", "--name", "maintain"], lambda: True
        )

    def stored(self) -> int:
        """Rows in the lake, by another engine than ours; void if one is there twice."""
        table = DeltaTable(str(self.data.lake / "events"))
        files = table.file_uris()
        if not files:
            return 0
        ids = pl.scan_parquet(files, hive_partitioning=True, missing_columns="insert").select(
            pl.len(), pl.struct("project_id", "event_id").n_unique().alias("distinct")
        )
        rows, distinct = ids.collect().row(0)
        if rows != distinct:
            raise RunVoid(f"{rows} rows in the lake, {distinct} distinct")
        return int(rows)

    def committed(self) -> int:
        """Rows in the lake by its log: cheap enough to ask in a loop."""
        actions = DeltaTable(str(self.data.lake / "events")).get_add_actions(flatten=True)
        return sum(actions.column("num_records").to_pylist())

    def _takes_events(self) -> bool:
        load = Load(self.port, self.single_path, self.keys[:1], 1, 0.1, seed=0xFFFFFFFF, requests=1)
        try:
            self.accepted += run_load(load).events
        except RunVoid:
            return False
        return self.accepted > 0

    def _make_projects(self, count: int) -> tuple[list[str], list[int]]:
        now = datetime.now(UTC)
        with open_metadata(f"sqlite:///{self.data.root / 'meta.db'}", self.data.key_revision) as metadata:
            account = ensure_account(metadata, "bench@example.com", "correct horse battery", now)
            made = [ensure_project(metadata, account.id, f"bench-{n}", None, now).id for n in range(count)]
            keys = create_keys(metadata, [KeySpec(account.id, Dialect.JCHT, Scope.ADMIN, id_) for id_ in made], now)
        return [key.secret for key in keys], made


class Naive:
    """The naive pipeline on a topic of its own with the same partitions and durability."""

    name = "naive"
    single_path, batch_path, poll_path = "/events", "/events/batch", "/realtime"
    keys = ("none",)

    def __init__(self, brokers: str, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.brokers = brokers
        self.topic = directory.name
        self.port = free_port()
        self.accepted = 0
        create_topic(brokers, self.topic)
        self.processes = Processes(
            directory,
            {"NAIVE_BROKERS": brokers, "NAIVE_TOPIC": self.topic, "NAIVE_DIRECTORY": str(directory)},
        )

    def start_api(self, batch: int = 16) -> None:
        self.processes.environment["NAIVE_BATCH"] = str(batch)
        module = "benchmarks.baselines.naive.api:app"
        options = ["--port", str(self.port), "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
        self.processes.start(
            "door", [sys.executable, "-m", "uvicorn", module, *options], lambda: is_listening(self.port)
        )

    def start_worker(self, module: str = "benchmarks.baselines.naive.worker", sign: str = "ready") -> None:
        self.processes.start("worker", [sys.executable, "-m", module], (self.directory / sign).exists)

    def logged(self) -> int:
        """Records in the topic: one an event."""
        return logged(self.brokers, self.topic)

    def stored(self) -> int:
        """Rows in its Parquet files."""
        if not list(self.directory.glob("*.parquet")):
            return 0
        return int(pl.scan_parquet(self.directory / "*.parquet").select(pl.len()).collect().item())

    def tallied(self) -> int:
        """Events the counting worker has counted."""
        return int((self.directory / "tally").read_text())


def create_topic(brokers: str, topic: str) -> None:
    """A topic as ours is on the embedded broker: every record is on the disk before it is acknowledged."""
    admin = AdminClient({"bootstrap.servers": brokers})
    made = admin.create_topics(
        [NewTopic(topic, PARTITIONS, 1, config={"flush.messages": "1", "message.timestamp.type": "LogAppendTime"})]
    )
    made[topic].result()


def logged(brokers: str, topic: str) -> int:
    """Records in a topic."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "benchmarks"})
    try:
        ends = [consumer.get_watermark_offsets(TopicPartition(topic, number)) for number in range(PARTITIONS)]
    finally:
        consumer.close()
    return sum(end - start for start, end in ends)


class Client:
    """A load in a process of its own, ready to start."""

    def __init__(self, load: Load) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.client", msgspec.json.encode(load).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RunVoid("the client could not connect")

    def start(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def finish(self) -> LoadReport:
        """What came of it; raises RunVoid unless every request was answered with 200 or 304."""
        output, _ = self._process.communicate(timeout=600)
        if self._process.returncode:
            raise RunVoid("the client failed")
        report = msgspec.json.decode(output, type=LoadReport)
        if report.statuses.keys() - {"200", "304"}:
            raise RunVoid(f"answers: {report.statuses}")
        return report


def run_load(load: Load) -> LoadReport:
    """A whole load."""
    client = Client(load)
    client.start()
    return client.finish()


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Return at the condition's first true; raises RunVoid."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RunVoid(f"waited {seconds:g} s for {what}")
        time.sleep(0.05)


def is_listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def free_port() -> int:
    """A port below 32768, where no outgoing connection can take it; another one each time."""
    for port in _PORTS:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise RunVoid("no free port")
