"""What we rely on in Faust and aiokafka, and what we must not: each on a real broker, in a process of its own."""

import base64
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

ROOT = Path(__file__).parents[2]
SECONDS = 60.0


class Probe:
    """A topic, a group, and the process that reads it."""

    def __init__(self, servers: str, root: Path) -> None:
        self.servers, self.root = servers, root
        self.topic, self.group = f"probe-{uuid.uuid4().hex[:8]}", f"probe-{uuid.uuid4().hex[:8]}"
        self.admin = AdminClient({"bootstrap.servers": servers})
        self.producer = Producer({"bootstrap.servers": servers})
        self.output = root / "probe.out"

    def create(self) -> None:
        config = {"message.timestamp.type": "LogAppendTime"}
        self.admin.create_topics([NewTopic(self.topic, 1, 1, config=config)])[self.topic].result(30)

    def send(self, *values: bytes | None, headers: dict[str, str | bytes | None] | None = None) -> None:
        for value in values:
            self.producer.produce(self.topic, value, partition=0, headers=headers or {})
        assert self.producer.flush(30) == 0

    @contextmanager
    def run(self, story: str) -> Iterator[subprocess.Popen[bytes]]:
        environment = os.environ | {
            "PROBE_SERVERS": self.servers,
            "PROBE_TOPIC": self.topic,
            "PROBE_GROUP": self.group,
            "PROBE_DATA": str(self.root / "faust"),
        }
        with open(self.output, "wb") as output, open(self.root / "probe.err", "wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.contracts.faust_probe", story],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=errors,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def said(self, key: str) -> list[dict[str, Any]]:
        """Observations with this key."""
        lines = self.output.read_text().splitlines() if self.output.exists() else []
        # Faust writes the codes of a spinner between them.
        said = [json.loads(line[line.index("{") :]) for line in lines if line.endswith("}")]
        return [found for found in said if key in found]

    def wait(self, is_true: Callable[[], bool], seconds: float = SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not is_true():
            assert time.monotonic() < deadline, self.output.read_text()[-2000:]
            time.sleep(0.1)

    def committed(self) -> int:
        """What the broker says the group has committed; -1001 for nothing."""
        asked = [ConsumerGroupTopicPartitions(self.group, [TopicPartition(self.topic, 0)])]
        result = self.admin.list_consumer_group_offsets(asked)[self.group].result(30)
        return int(result.topic_partitions[0].offset)


@pytest.fixture
def probe(kafka: str, tmp_path: Path) -> Probe:
    return Probe(kafka, tmp_path)


NOTHING = -1001


def test_untracked_topic_hands_over_raw_bytes_and_commits_nothing(probe: Probe) -> None:
    probe.create()
    values = [b"plain", None, b"", b"\xff\x00garbage", b'{"a":']
    probe.send(*values, headers={"sg-format": b"1"})
    with probe.run("read"):
        probe.wait(lambda: len(probe.said("offset")) == 5)
        seen = probe.said("offset")
        assert [one["offset"] for one in seen] == [0, 1, 2, 3, 4]
        decoded = [None if one["value"] is None else base64.b64decode(one["value"]) for one in seen]
        assert decoded == values
        assert all(one["headers"] == {"sg-format": "1"} and one["is_current"] for one in seen)
        assert all(abs(one["timestamp"] / 1000 - time.time()) < 300 for one in seen)
        assert probe.said("assigned")[-1]["assigned"] == [0]
        time.sleep(1.0)  # five of Faust's own commit intervals
        assert probe.committed() == NOTHING


def test_exception_in_a_take_body_acks_and_loses_the_batch(probe: Probe) -> None:
    """The control: why nothing of Faust's own bookkeeping is trusted."""
    probe.create()
    probe.send(*[b"x"] * 10)
    with probe.run("raise in take"):
        probe.wait(lambda: bool(probe.said("took")))
        probe.wait(lambda: probe.committed() == probe.said("took")[0]["took"])


def test_explicit_commit_is_what_the_broker_shows_and_a_stale_generation_is_refused(probe: Probe) -> None:
    probe.create()
    probe.send(*[b"x"] * 5)
    with probe.run("commit") as process:
        probe.wait(lambda: bool(probe.said("zombie_committed")))
        assert probe.said("committed")[0]["committed"] is True
        assert probe.said("zombie_committed")[0]["zombie_committed"] is False
        assert probe.committed() == 3
        assert process.poll() is None


def test_seek_arrives_when_it_is_repeated(probe: Probe) -> None:
    probe.create()
    probe.send(*[b"x"] * 5)
    with probe.run("seek"):
        probe.wait(lambda: bool(probe.said("arrived_after")))
        probe.wait(lambda: len(probe.said("offset")) >= 10)
        assert [one["offset"] for one in probe.said("offset")[5:10]] == [0, 1, 2, 3, 4]


def test_sigterm_calls_before_shutdown_where_a_commit_still_works(probe: Probe) -> None:
    probe.create()
    probe.send(*[b"x"] * 5)
    with probe.run("stop") as process:
        probe.wait(lambda: len(probe.said("offset")) == 5)
        process.terminate()
        assert process.wait(SECONDS) == 0
        assert probe.said("stopping")
        assert probe.committed() == 2


def test_topic_that_comes_later_is_assigned_within_the_metadata_age(probe: Probe) -> None:
    with probe.run("read"):
        probe.wait(lambda: bool(probe.said("assigned")))
        assert probe.said("assigned")[0]["assigned"] == []
        probe.create()
        probe.send(b"late")
        probe.wait(lambda: len(probe.said("offset")) == 1)
        generations = [one["generation"] for one in probe.said("assigned")]
        assert generations == sorted(set(generations))
