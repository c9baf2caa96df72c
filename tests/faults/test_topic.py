"""A log that is not the one that was read: another chain, an alarm, and never a silent skip."""

import pytest
from confluent_kafka import KafkaException
from deltalake import DeltaTable

from api.log.topics import ensure_topics
from storage.errors import Unavailable
from tests.faults.checker import read
from tests.faults.river import River, wait_for


def _recreate(river: River) -> None:
    river.admin.delete_topics([river.topic])[river.topic].result(30)

    def is_gone() -> bool:
        return river.topic not in river.admin.list_topics(timeout=10).topics

    wait_for(is_gone, lambda: "the topic is still there")

    def is_there() -> bool:
        try:
            ensure_topics(river.settings, None, 30)
            return river.ends() == dict.fromkeys(range(river.partitions), 0)
        except (KafkaException, Unavailable):  # the broker is not done with the old one
            return False

    wait_for(is_there, lambda: "the topic does not come back")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("is_running", [True, False])
def test_recreated_topic_is_read_from_its_start(river: River, is_running: bool) -> None:
    river.send(20)
    worker = river.start()
    river.drain()
    old = river.chain()
    if not is_running:
        assert river.stop("worker-0") == 0
    _recreate(river)
    assert river.chain() != old
    river.send(8)  # fewer than before: every offset looks like one that was read
    if is_running:
        assert worker.wait(90) == 75, river.tail()
    river.start("worker-1", kafka_group=f"{river.group}-1")
    river.drain()
    assert river.said("the lake has rows of another log; this one is read from its start", "worker-1")
    assert sum(river.positions().values()) == 8
    rows = read(DeltaTable(str(river.lake / "events")))
    assert rows["event_id"].n_unique() == len(rows) == len(river.sent.ids)
