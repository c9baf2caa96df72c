"""The embedded broker as a process: a real log, kept over stops and kills, and clear words when it fails."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from storage.broker.artifact import Artifact
from storage.broker.configuration import HOST, free_port
from storage.broker.process import Broker, Running, answering_cluster, find_running, why_it_ended
from storage.errors import BrokerFailed
from storage.settings import DataDirectory


def produce(servers: str, topic: str, *values: bytes) -> None:
    reports: list[object] = []
    producer = Producer({"bootstrap.servers": servers, "acks": "all", "message.max.bytes": 2_000_000})
    for value in values:
        producer.produce(topic, value, partition=0, on_delivery=lambda error, message: reports.append(error))
    assert producer.flush(30) == 0
    assert reports == [None] * len(values)


def make_topic(servers: str) -> str:
    topic = f"test-{uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": servers})  # kept: its requests end with it
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    return topic


def consume(servers: str, topic: str, count: int) -> list[bytes | None]:
    """The first records, read from their place: a group would first look for its coordinator and share out."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": uuid4().hex})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        messages = consumer.consume(count, timeout=30)
        assert [message.error() for message in messages] == [None] * count
        return [message.value() for message in messages]
    finally:
        consumer.close()


def test_broker_keeps_records_of_a_megabyte(kafka: str) -> None:
    topic = make_topic(kafka)

    produce(kafka, topic, b"small", b"x" * 1_000_000)

    assert consume(kafka, topic, 2) == [b"small", b"x" * 1_000_000]


def test_log_and_ports_and_cluster_survive_stop_and_kill(own_broker: Broker) -> None:
    servers = own_broker.bootstrap_servers
    topic = make_topic(servers)
    produce(servers, topic, b"first")

    own_broker.stop()
    own_broker.start()
    produce(servers, topic, b"second")
    own_broker.kill()
    own_broker.start()
    produce(servers, topic, b"third")

    assert own_broker.bootstrap_servers == servers
    assert consume(servers, topic, 3) == [b"first", b"second", b"third"]


def failure(broker: Broker) -> str:
    """What a start that fails says, in one line; no child stays behind."""
    with pytest.raises(BrokerFailed) as caught:
        broker.start()
    assert broker.pid is None
    line = str(caught.value)
    assert "\n" not in line
    assert "KAFKA_BOOTSTRAP_SERVERS" in line
    assert "compose.yaml" in line
    return line


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_running_broker_is_found_by_its_directory(own_broker: Broker, own_directory: DataDirectory) -> None:
    assert own_broker.pid is not None
    assert find_running(own_directory) == Running(own_broker.pid, own_broker.bootstrap_servers)
    assert os.getpgid(own_broker.pid) == own_broker.pid
    assert (own_directory.logs / "broker.log").stat().st_mode & 0o777 == 0o600
    assert "started" in (own_directory.logs / "broker.log").read_text()

    own_broker.stop()

    assert find_running(own_directory) is None
    assert (own_directory.kafka / ".kafka_cleanshutdown").exists()


def test_second_broker_on_the_directory_is_refused(
    own_broker: Broker, own_directory: DataDirectory, kafka_server: Artifact
) -> None:
    line = failure(Broker(own_directory, kafka_server))

    assert f"a broker with pid {own_broker.pid} runs on this data directory already" in line
    assert own_broker.poll() is None
    assert find_running(own_directory) is not None


def test_taken_port_is_one_line(tmp_path: Path, kafka_server: Artifact) -> None:
    port = free_port(without=frozenset())
    with socket.create_server((HOST, port)):
        line = failure(Broker(DataDirectory(tmp_path), kafka_server, port=port))

    assert f"port {port} of the broker is taken" in line
    assert "STREAMGAUGE_BROKER_PORT" in line


def test_port_taken_in_the_last_moment_is_told_from_the_output(tmp_path: Path) -> None:
    output = tmp_path / "broker.out"
    output.write_text(
        "WARNING: something about Java\n"
        "ERROR Unable to start acceptor Socket server failed to bind to 127.0.0.1:20001: Address already in use.\n"
        "ERROR Exiting Kafka due to fatal exception during startup.\n"
    )

    assert why_it_ended(DataDirectory(tmp_path), output).startswith("port 20001 of the broker is taken")


def test_foreign_kafka_on_a_port_is_not_believed(kafka: str) -> None:
    cluster = answering_cluster(int(kafka.rpartition(":")[2]))

    assert cluster is not None
    assert len(cluster) == 22


def test_silent_port_is_no_broker() -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]

        def hang_up() -> None:
            listener.accept()[0].close()

        with ThreadPoolExecutor(1) as pool:
            pool.submit(hang_up)
            assert answering_cluster(port) is None
    assert answering_cluster(port) is None


def test_too_small_heap_is_one_line(tmp_path: Path, kafka_server: Artifact) -> None:
    assert "STREAMGAUGE_BROKER_HEAP_MB" in failure(Broker(DataDirectory(tmp_path), kafka_server, heap_mb=8))


def test_absurd_heap_is_one_line(tmp_path: Path, kafka_server: Artifact) -> None:
    assert "STREAMGAUGE_BROKER_HEAP_MB" in failure(Broker(DataDirectory(tmp_path), kafka_server, heap_mb=10**9))


def test_data_of_another_node_is_one_line(
    own_broker: Broker, own_directory: DataDirectory, kafka_server: Artifact
) -> None:
    own_broker.stop()
    meta = own_directory.kafka / "meta.properties"
    meta.write_text(meta.read_text().replace("node.id=1", "node.id=7"))

    line = failure(Broker(own_directory, kafka_server))

    assert "Stored node id 7 doesn't match" in line
    assert "broker.log" in line


def test_unusable_directory_is_one_line(tmp_path: Path, kafka_server: Artifact) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")

    assert f"the broker cannot use {tmp_path}" in failure(Broker(DataDirectory(tmp_path), kafka_server))


# A child Python, so that its limits and its death are not those of the test run.
PARENT = """
import resource, sys
from pathlib import Path
from storage.broker.artifact import find_or_fetch
from storage.broker.process import Broker, serve
from storage.errors import BrokerFailed
from storage.settings import DataDirectory

what, directory, artifact = sys.argv[1], DataDirectory(Path(sys.argv[2])), find_or_fetch(print)
if what == "serve":
    serve(directory, artifact)
if what == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
broker = Broker(directory, artifact)
try:
    broker.start()
except BrokerFailed as error:
    sys.exit(str(error))
print(broker.pid, flush=True)
sys.stdin.read()
"""


@contextmanager
def parent(what: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PARENT, what, str(directory)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_broker_dies_with_its_parent(tmp_path: Path) -> None:
    with parent("start", tmp_path) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert not has_ended(pid)

        process.kill()

        wait_until(lambda: has_ended(pid))


def test_full_disk_is_one_line(tmp_path: Path, kafka_server: Artifact) -> None:
    with parent("full", tmp_path) as process:
        _, said = process.communicate(timeout=120)

    assert process.returncode == 1
    assert said.startswith("the disk is full (File too large)")
    assert said.count("\n") == 1


def test_server_takes_over_the_process_that_serves(tmp_path: Path, kafka_server: Artifact) -> None:
    directory = DataDirectory(tmp_path)
    with parent("serve", tmp_path) as process:
        wait_until(lambda: find_running(directory), seconds=90)
        found = find_running(directory)
        assert found is not None
        assert found.pid == process.pid

        process.terminate()
        process.wait(30)

    assert find_running(directory) is None
    assert (directory.kafka / ".kafka_cleanshutdown").exists()
