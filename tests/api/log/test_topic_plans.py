"""What the topics must be, and what counts as a difference; no broker needed."""

import pytest

from api.log.topics import differences, topic_plans
from storage.settings import StorageSettings


def test_the_embedded_brokers_events_topic_is_synced_record_by_record() -> None:
    events, live = topic_plans(StorageSettings(kafka_partitions=6), flush_messages=1)

    assert (events.name, events.partitions, events.config["flush.messages"]) == ("streamgauge.events", 6, "1")
    assert events.config["message.timestamp.type"] == "LogAppendTime"
    assert (live.name, live.partitions, live.config["cleanup.policy"]) == ("streamgauge.live", 1, "compact,delete")
    assert "flush.messages" not in live.config


def test_three_replicas_need_two_for_an_acknowledgement() -> None:
    for plan in topic_plans(StorageSettings(kafka_replication=3), flush_messages=None):
        assert plan.config["min.insync.replicas"] == "2"
        assert plan.config["unclean.leader.election.enable"] == "false"
    for plan in topic_plans(StorageSettings(), flush_messages=None):
        assert "min.insync.replicas" not in plan.config


@pytest.mark.parametrize(
    ("name", "wanted", "actual", "differs"),
    [
        ("cleanup.policy", "compact,delete", "delete,compact", False),
        ("cleanup.policy", "compact,delete", "delete", True),
        ("retention.ms", "100", "200", False),
        ("retention.ms", "100", "-1", False),
        ("retention.ms", "100", "99", True),
        ("retention.bytes", "-1", "1000000", True),
        ("max.message.bytes", "100", "", True),
        ("message.timestamp.type", "LogAppendTime", "CreateTime", True),
        ("flush.messages", "1", "9223372036854775807", True),
    ],
)
def test_a_difference_is_what_could_lose_something(name: str, wanted: str, actual: str, differs: bool) -> None:
    assert bool(differences("t", {name: wanted}, {name: actual})) is differs


def test_a_difference_says_what_it_is_and_should_be() -> None:
    (difference,) = differences("t", {"cleanup.policy": "delete"}, {"cleanup.policy": "compact"})

    assert str(difference) == "topic t: cleanup.policy is compact, should be delete"
