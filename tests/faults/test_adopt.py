"""The log moves to another topic by a mirror, which gives other offsets: the lake goes on where it was."""

import os
import subprocess
import sys
import uuid
from collections import Counter

from confluent_kafka import Consumer, TopicPartition
from deltalake import DeltaTable

from api.log.topics import ensure_topics
from tests.faults.checker import read
from tests.faults.river import PATIENCE_SECONDS, ROOT, River


def _mirror(river: River, topic: str, leave_out: int) -> None:
    """Copy what the river's topic holds, but the first records of each partition, with its timestamps."""
    consumer = Consumer({"log_level": 0, "bootstrap.servers": river.servers, "group.id": f"mirror-{uuid.uuid4().hex}"})
    for partition, end in river.ends().items():
        consumer.assign([TopicPartition(river.topic, partition, leave_out)])
        for _ in range(leave_out, end):
            message = consumer.poll(PATIENCE_SECONDS)
            assert message is not None
            assert message.error() is None
            river.producer.produce(
                topic,
                message.value(),
                partition=partition,
                timestamp=message.timestamp()[1],
                headers=message.headers(),
            )
    consumer.close()
    river.settle()


def _lake(river: River, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"KAFKA_BOOTSTRAP_SERVERS": river.servers, "STREAMGAUGE_KAFKA_TOPIC": river.topic}
    command = [sys.executable, "-m", "api.cli", "lake", *arguments, "--data-dir", str(river.settings.data_dir)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_lake_goes_on_with_a_mirrored_log(river: River) -> None:
    river.send(30)
    river.start()
    river.drain()
    assert river.stop("worker-0") == 0
    before = river.positions()
    assert min(before.values()) > 8
    river.send(6, bad_every=0)
    mirror = f"mirror-{uuid.uuid4().hex[:8]}"
    ensure_topics(river.settings.model_copy(update={"kafka_topic": mirror}), None, PATIENCE_SECONDS)

    river.topic, original = mirror, river.topic
    empty = _lake(river, "adopt")
    assert empty.returncode == 1
    assert "no copy" in empty.stderr
    river.topic = original
    _mirror(river, mirror, leave_out=5)
    river.topic = mirror

    adopted = _lake(river, "adopt")

    assert adopted.returncode == 0, adopted.stderr
    assert adopted.stdout.splitlines() == [
        f"partition {partition} goes on at offset {position - 5}" for partition, position in before.items()
    ]
    river.start("worker-1", kafka_group=f"{river.group}-1")
    river.drain()
    river.send(4, bad_every=0)
    river.drain()
    assert river.stop("worker-1") == 0
    rows = read(DeltaTable(str(river.lake / "events")))
    assert Counter(rows.select("project_id", "event_id").iter_rows()) == river.sent.ids
    verified = _lake(river, "verify", "--scan")
    assert verified.returncode == 0, verified.stderr
