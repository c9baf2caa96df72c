"""Death and freezing under load: workers, the broker, and a worker that wakes up when others own its partitions."""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from storage.broker.process import Broker
from tests.faults.river import River, river_of, wait_for


@pytest.fixture
def own_river(own_broker: Broker, tmp_path: Path) -> Iterator[River]:
    """A river on a broker that may be killed."""
    with river_of(own_broker.bootstrap_servers, tmp_path) as made:
        yield made


def _committed(river: River) -> dict[int, int]:
    """What the group has committed to Kafka."""
    places = [TopicPartition(river.topic, p) for p in range(river.partitions)]
    asked = river.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(river.group, places)])
    found = asked[river.group].result(30).topic_partitions or []
    return {place.partition: place.offset for place in found}


@pytest.mark.timeout(300)
def test_kill_of_worker_and_broker_under_load(own_river: River, own_broker: Broker) -> None:
    river = own_river
    river.start("worker-0")
    for _ in range(6):
        river.send(10)
    wait_for(lambda: sum(river.positions().values()) > 0, river.tail)
    river.kill("worker-0")
    river.send(20)
    river.start("worker-1")  # takes over when the dead member's session ends
    river.send(20)
    wait_for(lambda: bool(river.said("flushed", "worker-1")), river.tail)
    before = own_broker.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: own_broker.poll() is not None, lambda: "the broker lives")
    own_broker.kill()  # reaps it
    own_broker.start()
    assert own_broker.pid != before
    river.send(20)
    if river.workers["worker-1"].poll() is not None:  # it may end itself; the supervisor of `up` starts it again
        river.start("worker-1")
    river.drain()
    assert river.judge() == []


@pytest.mark.timeout(300)
def test_zombie_beyond_its_session_writes_nothing_twice(river: River) -> None:
    # The zombie holds records that it has accepted but not flushed when it freezes.
    zombie = river.start("worker-0", flush_age_seconds=6)
    river.send(6)
    river.drain()
    wait_for(lambda: sum(len(line["positions"]) for line in river.said("flushed")) >= 2, river.tail)  # type: ignore[arg-type,misc]
    river.send(30)
    flushed = len(river.said("flushed"))
    time.sleep(1.5)  # taken by now, and far from the flush
    assert len(river.said("flushed")) == flushed
    zombie.send_signal(signal.SIGSTOP)
    river.start("worker-1")
    river.drain()  # by the other, after the zombie's session
    # The offsets follow the rows by a barrier and a request.
    wait_for(lambda: _committed(river) == river.ends(), river.tail)
    committed = _committed(river)
    river.send(10)
    zombie.send_signal(signal.SIGCONT)
    refused = ("a commit was refused", "another owner is ahead")
    wait_for(lambda: any(river.said(message) for message in refused), river.tail)
    river.drain()
    assert river.judge() == []
    assert all(_committed(river)[p] >= committed[p] for p in committed)


@pytest.mark.timeout(300)
def test_members_that_come_and_go_hand_over_without_loss(river: River) -> None:
    rng = random.Random(5)
    river.start("worker-0")
    for round_number in range(1, 4):
        name = f"worker-{round_number}"
        river.send(10)
        river.start(name)
        wait_for(lambda name=name: bool(river.said("partition loaded", name)), river.tail)  # type: ignore[misc]
        river.send(10)
        leaving = rng.choice(sorted(river.workers))
        assert river.stop(leaving) == 0, river.tail()
        river.send(10)
    river.drain()
    assert river.judge() == []


def test_sigterm_flushes_what_was_taken_and_commits_its_offsets(river: River) -> None:
    river.send(20)
    river.start("worker-0", flush_age_seconds=600)
    wait_for(lambda: bool(river.said("partition loaded")), river.tail)
    time.sleep(2)
    assert sum(river.positions().values()) == 0  # nothing was flushed yet
    assert river.stop("worker-0") == 0, river.tail()
    assert river.positions() == river.ends()
    assert river.judge() == []
    assert _committed(river) == river.ends()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("where", ["ahead", "behind"])
def test_offset_in_kafka_that_is_not_the_position_decides_nothing(river: River, where: str) -> None:
    river.send(20)
    river.start("worker-0")
    river.drain()
    assert river.stop("worker-0") == 0
    river.send(20)
    ends = river.ends()
    places = [TopicPartition(river.topic, p, ends[p] - 3 if where == "ahead" else 0) for p in ends]
    asked = river.admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(river.group, places)])
    asked[river.group].result(30)
    river.start("worker-1")
    river.drain()
    if where == "ahead":
        assert river.said("hole in the log", "worker-1")
    assert river.judge() == []
