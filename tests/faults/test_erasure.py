"""A person is erased while her events arrive and the whole log is written into itself again."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import datetime

import polars as pl
import pytest
from confluent_kafka import Consumer, TopicPartition
from deltalake import DeltaTable

from schemas.records import SegmentHeader, encode_segment, record_headers
from tests.faults.checker import read
from tests.faults.river import ROOT, River, wait_for

HER = "u3"


class _Sender(threading.Thread):
    """Records of ten people, until told to stop; remembers who sent what, and when it was received."""

    def __init__(self, river: River) -> None:
        super().__init__()
        self.river = river
        self.sent: dict[str, tuple[str, int]] = {}
        self.stop = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.stop.wait(0.02):
            received = int(time.time() * 1000)
            people = [f"u{n}" for n in range(10)]
            lines = [json.dumps({"event": "a", "eventId": f"{number}-{one}", "userId": one}).encode() for one in people]
            header = SegmentHeader(len(lines), self.river.project, received, "000000000000", "test")
            partition = number % self.river.partitions
            self.river.produce(partition, encode_segment(header, lines), record_headers(len(lines), "test"))
            self.sent |= {f"{number}-{one}": (one, received) for one in people}
            number += 1
        self.river.settle()


def _lake(river: River, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("STREAMGAUGE_")}
    command = [sys.executable, "-m", "api.cli", "lake", *arguments, "--data-dir", str(river.settings.data_dir)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _replay(river: River) -> None:
    consumer = Consumer({"log_level": 0, "bootstrap.servers": river.servers, "group.id": river.topic})
    for partition, end in river.ends().items():
        consumer.assign([TopicPartition(river.topic, partition, 0)])
        for _ in range(end):
            message = consumer.poll(30)
            assert message is not None
            assert message.error() is None
            headers = [(name, bytes(value)) for name, value in message.headers() or []]  # type: ignore[str-unpack,arg-type]
            river.produce(partition, message.value(), headers)
    consumer.close()
    river.settle()


@pytest.mark.timeout(300)
def test_nothing_received_before_the_erasure_is_left_and_nothing_else_is_lost(river: River) -> None:
    workers = [river.start(f"worker-{number}", flush_age_seconds=1.5) for number in range(2)]
    sender = _Sender(river)
    sender.start()
    try:
        wait_for(lambda: min(river.positions().values()) > 20, river.tail)
        receipt = json.loads(_lake(river, "delete-user", HER, "--project", str(river.project), "--json"))
        seen = sum(river.positions().values())
        wait_for(lambda: sum(river.positions().values()) > seen + 40, river.tail)
    finally:
        sender.stop.set()
        sender.join()
    _replay(river)
    river.drain(120)

    erased_at = datetime.fromisoformat(receipt["erasedAt"]).timestamp() * 1000
    rows = read(DeltaTable(str(river.lake / "events")))
    hers = rows.filter(pl.col("distinct_id") == HER)
    assert receipt["tables"][0]["rows_before"] > 0
    assert hers["received_at"].dt.epoch("ms").min() > erased_at  # type: ignore[operator]
    expected = {one for one, (who, received) in sender.sent.items() if who != HER or received > erased_at}
    assert Counter(rows["event_id"]) == Counter(dict.fromkeys(expected, 1))
    assert any(who == HER and received > erased_at for who, received in sender.sent.values()), "she came back"
    assert "FAIL" not in _lake(river, "verify", "--scan")
    erased = sum(
        DeltaTable(str(river.lake / "events")).transaction_version(f"{river.chain()}/{p}#erased") or 0 for p in range(2)
    )
    unread = sum(who == HER and received <= erased_at for who, received in sender.sent.values())
    assert erased >= unread, "each of hers was in the replay"
    refused = [line for number in range(2) for line in river.said("a commit was refused", f"worker-{number}")]
    assert any("Metadata changed" in str(line) for line in refused), "no worker met the fence"
    assert [worker.poll() for worker in workers] == [None, None], river.tail()
