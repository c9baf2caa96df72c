"""Topics created, checked and put right on a real broker."""

import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # not re-exported by its stubs

from api.log.topics import check_topics, ensure_topics, group_lag
from storage.errors import Unavailable
from storage.settings import StorageSettings


@pytest.fixture
def settings(kafka: str) -> Iterator[StorageSettings]:
    """Topics and a group of this test's own, gone after it."""
    own = uuid.uuid4().hex
    settings = StorageSettings(
        kafka_bootstrap_servers=kafka, kafka_topic=f"events-{own}", kafka_live_topic=f"live-{own}", kafka_group=own
    )
    yield settings
    admin = AdminClient(settings.librdkafka())
    for future in admin.delete_topics([settings.kafka_topic, settings.kafka_live_topic]).values():
        future.exception(10)


def create(settings: StorageSettings, name: str, **config: str) -> None:
    topic = NewTopic(name, 2, 1, config={key.replace("_", "."): value for key, value in config.items()})
    admin = AdminClient(settings.librdkafka())  # named, since its futures die with it
    admin.create_topics([topic])[name].result(10)


def test_missing_topics_are_told_then_created_as_they_must_be(settings: StorageSettings) -> None:
    assert check_topics(settings, 1) == [
        f"topic {settings.kafka_topic} is missing",
        f"topic {settings.kafka_live_topic} is missing",
    ]

    assert ensure_topics(settings, 1, 30) == [
        f"topic {settings.kafka_topic}: created with 4 partitions",
        f"topic {settings.kafka_live_topic}: created with 1 partition",
    ]
    assert check_topics(settings, 1) == []
    assert ensure_topics(settings, 1, 30) == []


def test_new_topics_can_be_used_at_once(settings: StorageSettings) -> None:
    ensure_topics(settings, 1, 30)

    topics = AdminClient(settings.librdkafka()).list_topics(timeout=10).topics

    assert len(topics[settings.kafka_topic].partitions) == 4
    assert all(partition.leader >= 0 for partition in topics[settings.kafka_topic].partitions.values())


def test_what_could_lose_something_is_put_right(settings: StorageSettings) -> None:
    create(settings, settings.kafka_topic, retention_ms="3600000", retention_bytes="1000000")
    create(settings, settings.kafka_live_topic, cleanup_policy="delete")

    lines = ensure_topics(settings, None, 30)

    assert f"topic {settings.kafka_topic}: retention.ms is 3600000, should be 604800000: changed" in lines
    assert f"topic {settings.kafka_topic}: retention.bytes is 1000000, should be -1: changed" in lines
    assert f"topic {settings.kafka_live_topic}: cleanup.policy is delete, should be compact,delete: changed" in lines
    (left,) = check_topics(settings, None)  # what only a person may do
    assert left.startswith(f"topic {settings.kafka_live_topic}: has 2 partitions, should have 1")


def test_an_operators_longer_retention_stays(settings: StorageSettings) -> None:
    ensure_topics(settings, None, 30)
    changed = settings.model_copy(update={"kafka_topic": f"{settings.kafka_topic}-long"})
    create(changed, changed.kafka_topic, retention_ms="-1", message_timestamp_type="LogAppendTime")

    assert not [line for line in ensure_topics(changed, None, 30) if "retention.ms" in line]
    admin = AdminClient(settings.librdkafka())
    admin.delete_topics([changed.kafka_topic])[changed.kafka_topic].result(10)


def test_lag_is_what_the_group_has_not_committed(settings: StorageSettings) -> None:
    ensure_topics(settings, None, 30)
    producer = Producer(settings.librdkafka())
    for _ in range(5):
        producer.produce(settings.kafka_topic, b"x", partition=2)
    producer.flush(30)

    assert group_lag(settings) == {0: 0, 1: 0, 2: 5, 3: 0}

    commit(settings, TopicPartition(settings.kafka_topic, 2, 3))
    assert group_lag(settings) == {0: 0, 1: 0, 2: 2, 3: 0}


def commit(settings: StorageSettings, place: TopicPartition) -> None:
    consumer = Consumer(settings.librdkafka() | {"group.id": settings.kafka_group})
    try:
        consumer.commit(offsets=[place], asynchronous=False)
    finally:
        consumer.close()


def test_no_answer_is_one_line_that_says_what_to_check() -> None:
    nobody = StorageSettings(kafka_bootstrap_servers="127.0.0.1:1")

    with pytest.raises(Unavailable, match=r"^Kafka at 127\.0\.0\.1:1 does not answer .*KAFKA_BOOTSTRAP_SERVERS"):
        ensure_topics(nobody, 1, 0)
