"""The embedded broker as a process: a real log, kept over stops and kills, and clear words when it fails."""

from uuid import uuid4

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from storage.broker.process import Broker


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
    consumer = Consumer({"bootstrap.servers": servers, "group.id": uuid4().hex, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    try:
        return [message.value() for message in consumer.consume(count, timeout=30)]
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
