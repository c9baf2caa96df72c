"""A topic, a lake and worker processes for one fault test, and everything that was sent into them."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from deltalake import DeltaTable

from api.log.topics import ensure_topics
from schemas.records import SegmentHeader, encode_segment, record_headers
from storage.lake.tables import create_tables
from storage.meta.accounts import ensure_account
from storage.meta.engine import open_metadata
from storage.meta.projects import ensure_project
from storage.settings import StorageSettings
from tests.faults.checker import Sent, check_lake, log_lines

ROOT = Path(__file__).parents[2]
# Generous, because machines are shared: what is waited for is a condition, never the time.
PATIENCE_SECONDS = 45.0


class River:
    """One data directory on one broker."""

    def __init__(self, servers: str, root: Path, partitions: int = 2) -> None:
        self.servers = servers
        self.partitions = partitions
        self.topic = f"events-{uuid.uuid4().hex[:8]}"
        self.group = f"group-{uuid.uuid4().hex[:8]}"
        self.settings = StorageSettings(
            data_dir=root / "river",
            kafka_bootstrap_servers=servers,
            kafka_topic=self.topic,
            kafka_live_topic=f"{self.topic}-live",
            kafka_partitions=partitions,
        )
        directory = self.settings.directory.create()
        self.lake, self.logs, self.run = directory.lake, directory.logs, directory.run
        create_tables(self.lake)
        with open_metadata(self.settings.metadata_url, directory.key_revision) as metadata:
            metadata.migrate()
            now = datetime.now(UTC)
            account = ensure_account(metadata, "a@example.org", "a password for tests", now)
            self.project = ensure_project(metadata, account.id, "test", None, now).id
        ensure_topics(self.settings, None, PATIENCE_SECONDS)
        self.sent = Sent()
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.producer = Producer(
            {
                "log_level": 0,
                "bootstrap.servers": servers,
                "enable.idempotence": True,
                "message.max.bytes": 2 * 1024 * 1024,
            }
        )
        # One for the life of the river: its futures never end once it is collected.
        self.admin = AdminClient({"log_level": 0, "bootstrap.servers": servers})
        self._number = 0

    # -- the log ------------------------------------------------------------------------------

    def send(self, records: int, lines: int = 10, *, padding: int = 20, bad_every: int = 7) -> None:
        """Records of the door over all partitions; every `bad_every`-th one has one line that is no event."""
        for _ in range(records):
            self._number += 1
            partition = self._number % self.partitions
            ids = [f"e{self._number}-{n}" for n in range(lines)]
            texts = [self._line(one, padding) for one in ids]
            self.sent.ids.update((self.project, one) for one in ids)
            bad = None
            if bad_every and self._number % bad_every == 0:
                bad = lines // 2
                texts[bad] = b'{"event":' + b"\xff" * 3
                del self.sent.ids[self.project, ids[bad]]
            self.put(partition, texts, bad=bad)
        self.settle()

    def put(self, partition: int, texts: Sequence[bytes], *, bad: int | None = None) -> None:
        """One record of the door, as it is."""
        header = SegmentHeader(len(texts), self.project, int(time.time() * 1000), "000000000000", "test")
        self.produce(partition, encode_segment(header, texts), record_headers(len(texts), "test"), bad=bad)

    def produce(
        self,
        partition: int,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        *,
        bad: int | None = None,
    ) -> None:
        """Any record; `bad` is the index of a line that must become a dead letter."""

        def delivered(error: object, message: Message) -> None:
            assert error is None, error
            offset = message.offset()
            assert offset is not None
            if bad is not None:
                self.sent.bad.add((partition, offset, bad))

        while True:
            try:
                self.producer.produce(
                    self.topic,
                    value,
                    partition=partition,
                    headers=[*headers],
                    on_delivery=delivered,
                )
                break
            except BufferError:
                self.producer.poll(0.1)
        self.producer.poll(0)

    def settle(self) -> None:
        """Everything produced is in the log."""
        assert self.producer.flush(PATIENCE_SECONDS) == 0

    def read_log(self) -> Sent:
        """What the log holds, parsed with nothing but json: retries of the producer included."""
        sent = Sent()
        consumer = Consumer({"log_level": 0, "bootstrap.servers": self.servers, "group.id": f"read-{uuid.uuid4().hex}"})
        ends = self.ends()
        consumer.assign([TopicPartition(self.topic, partition, 0) for partition in ends])
        left = {partition for partition, end in ends.items() if end}
        while left:
            message = consumer.poll(30)
            assert message is not None, "the log does not answer"
            assert message.error() is None, message.error()
            partition, offset, value = message.partition() or 0, message.offset() or 0, message.value() or b""
            assert isinstance(value, bytes)
            head, *lines = value.split(b"\n")[:-1]
            for index, line in enumerate(lines):
                try:
                    sent.ids[json.loads(head)["project"], json.loads(line)["eventId"]] += 1
                except ValueError:
                    sent.bad.add((partition, offset, index))
            if offset + 1 == ends[partition]:
                left.discard(partition)
        consumer.close()
        return sent

    def _line(self, event_id: str, padding: int) -> bytes:
        fields: dict[str, Any] = {"event": f"kind-{self._number % 3}", "eventId": event_id}
        fields |= {"userId": f"u{self._number % 50}", "properties": {"padding": os.urandom(padding // 2).hex()}}
        return json.dumps(fields).encode()

    def ends(self) -> dict[int, int]:
        """The end of every partition, asked of the broker."""
        consumer = Consumer({"log_level": 0, "bootstrap.servers": self.servers, "group.id": f"ends-{uuid.uuid4().hex}"})
        try:
            ends = {}
            for partition in range(self.partitions):
                place = TopicPartition(self.topic, partition)
                ends[partition] = consumer.get_watermark_offsets(place, timeout=30)[1]
            return ends
        finally:
            consumer.close()

    def chain(self) -> str:
        """`<cluster id>/<topic id>`."""
        cluster = self.admin.describe_cluster().result(30).cluster_id
        topic = self.admin.describe_topics(TopicCollection([self.topic]))[self.topic].result(30)
        return f"{cluster}/{topic.topic_id}"

    # -- workers ------------------------------------------------------------------------------

    def start(self, name: str = "worker-0", module: str = "processors", **settings: object) -> subprocess.Popen[bytes]:
        """A worker process; `settings` are STREAMGAUGE_ variables."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("STREAMGAUGE_")}
        environment |= {
            "KAFKA_BOOTSTRAP_SERVERS": self.servers,
            "STREAMGAUGE_DATA_DIR": str(self.settings.data_dir),
            "STREAMGAUGE_KAFKA_TOPIC": self.topic,
            "STREAMGAUGE_KAFKA_LIVE_TOPIC": self.settings.kafka_live_topic,
            "STREAMGAUGE_KAFKA_GROUP": self.group,
            "STREAMGAUGE_KAFKA_PARTITIONS": str(self.partitions),
            "STREAMGAUGE_FLUSH_AGE_SECONDS": "0.5",
        }
        environment |= {f"STREAMGAUGE_{key.upper()}": str(value) for key, value in settings.items()}
        with open(self.logs / f"{name}.out", "ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module, "--name", name],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )
        self.workers[name] = process
        return process

    def kill(self, name: str) -> None:
        """Kill -9, and wait for the end."""
        process = self.workers.pop(name)
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()

    def stop(self, name: str) -> int:
        """SIGTERM; the exit status."""
        process = self.workers.pop(name)
        process.terminate()
        return process.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        """End every worker that is left."""
        for name in list(self.workers):
            self.kill(name)

    # -- what came of it ----------------------------------------------------------------------

    def positions(self, table: str = "events", chain: str | None = None) -> dict[int, int]:
        """The stored position of every partition."""
        opened = DeltaTable(str(self.lake / table))
        chain = chain or self.chain()
        return {p: opened.transaction_version(f"{chain}/{p}") or 0 for p in range(self.partitions)}

    def drain(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until the lake and its rollups have everything that the log has."""
        ends, chain = self.ends(), self.chain()
        wait_for(
            lambda: self.positions("events", chain) == ends and self.positions("rollups", chain) == ends,
            lambda: f"positions {self.positions('events', chain)} of {ends}; {self.tail()}",
            seconds,
        )

    def judge(self) -> list[str]:
        """What is wrong with the drained lake."""
        return check_lake(self.lake, self.chain(), self.ends(), self.sent)

    def said(self, message: str, name: str = "worker-0") -> list[dict[str, object]]:
        """Log lines of a worker with this message."""
        return log_lines(self.logs / f"{name}.log", message)

    def tail(self) -> str:
        """The last log lines of all workers, for a failure's message."""
        return "\n".join(
            line[:400] for path in sorted(self.logs.iterdir()) for line in path.read_text().splitlines()[-6:]
        )


def wait_for(is_true: Callable[[], bool], what: Callable[[], str], seconds: float = PATIENCE_SECONDS) -> None:
    """Poll a condition until it holds."""
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


@contextmanager
def river_of(servers: str, root: Path, partitions: int = 2) -> Iterator[River]:
    """A river whose workers end with the block."""
    river = River(servers, root, partitions)
    try:
        yield river
    finally:
        river.close()
