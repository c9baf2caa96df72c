"""The two topics as they must be: created when missing, checked and put right when present."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the library's stubs do not re-export them
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
    TopicMetadata,
)

from schemas.topics import EVENTS_TOPIC_CONFIG, LIVE_TOPIC_CONFIG
from storage.errors import Unavailable
from storage.settings import StorageSettings

# One admin request. A healthy broker answers in milliseconds, one that has just started in a second or two.
_REQUEST_SECONDS: Final = 10.0
# Where more than asked for is the operator's choice and loses nothing; -1 stands for "no limit".
_AT_LEAST: Final = frozenset({"retention.ms", "retention.bytes", "max.message.bytes"})

# Errors of a connection that no waiting mends, and the settings they come from.
_REFUSALS: Final = {
    "_AUTHENTICATION": "KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM",
    "_SSL": "KAFKA_SSL_CA_LOCATION and KAFKA_SECURITY_PROTOCOL",
}


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """What one topic must be."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]
    # Whether another number of partitions is wrong, or the operator's choice.
    is_partitions_fixed: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """One property of a topic that is not what it must be."""

    topic: str
    name: str
    actual: str
    wanted: str

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.name} is {self.actual or 'not set'}, should be {self.wanted}"


def topic_plans(settings: StorageSettings, flush_messages: int | None) -> tuple[TopicPlan, TopicPlan]:
    """The events and the live topic; `flush_messages` records are fsynced together, None leaves it to the cluster."""
    replication = settings.kafka_replication
    safety = {"min.insync.replicas": "2", "unclean.leader.election.enable": "false"} if replication >= 3 else {}
    flush = {} if flush_messages is None else {"flush.messages": str(flush_messages)}
    return (
        TopicPlan(settings.kafka_topic, settings.kafka_partitions, replication, EVENTS_TOPIC_CONFIG | safety | flush),
        TopicPlan(settings.kafka_live_topic, 1, replication, LIVE_TOPIC_CONFIG | safety, True),
    )


def differences(topic: str, wanted: Mapping[str, str], actual: Mapping[str, str]) -> list[Difference]:
    """Properties that are not as wanted; a longer retention or a larger limit is nobody's fault."""
    return [
        Difference(topic, name, actual.get(name, ""), value)
        for name, value in wanted.items()
        if not _satisfies(name, value, actual.get(name, ""))
    ]


def _satisfies(name: str, wanted: str, actual: str) -> bool:
    if name in _AT_LEAST and actual:
        return _limit(actual) >= _limit(wanted)
    return set(wanted.split(",")) == set(actual.split(","))


def _limit(value: str) -> float:
    return float("inf") if value == "-1" else int(value)


def ensure_topics(settings: StorageSettings, flush_messages: int | None, wait_seconds: float) -> list[str]:
    """Create what is missing and put right what differs; one line for each thing done or left to a person.

    Blocks until the log answers, at most `wait_seconds`; raises Unavailable. Safe to repeat and to run twice at once.
    """
    admin, known = _connect(settings, wait_seconds)
    lines = []
    for plan in topic_plans(settings, flush_messages):
        if plan.name in known:
            lines += _shape(plan, known[plan.name])
            lines += [_put_right(admin, difference) for difference in _check(admin, plan)]
        else:
            _create(admin, plan)
            _await_leaders(admin, plan.name)
            count = f"{plan.partitions} partition" + ("s" if plan.partitions > 1 else "")
            lines.append(f"topic {plan.name}: created with {count}")
    return lines


def check_topics(settings: StorageSettings, flush_messages: int | None) -> list[str]:
    """What is wrong with the topics, changing nothing; raises Unavailable when the log does not answer."""
    admin, known = _connect(settings, 0)
    lines = []
    for plan in topic_plans(settings, flush_messages):
        if plan.name in known:
            lines += _shape(plan, known[plan.name])
            lines += [str(difference) for difference in _check(admin, plan)]
        else:
            lines.append(f"topic {plan.name} is missing")
    return lines


def group_lag(settings: StorageSettings) -> dict[int, int]:
    """Records of each partition of the events topic that the workers have not committed; raises Unavailable.

    Retention may have taken records that were never read: they count from where the log begins.
    """
    admin, known = _connect(settings, 0)
    count = known.get(settings.kafka_topic, 0)
    places = [TopicPartition(settings.kafka_topic, number) for number in range(count)]
    if not places:
        return {}
    first = _ends(admin, places, OffsetSpec.earliest())  # type: ignore[no-untyped-call]  # untyped there
    last = _ends(admin, places, OffsetSpec.latest())  # type: ignore[no-untyped-call]  # untyped there
    read = _committed(settings, places)
    return {number: last[number] - max(first[number], read.get(number, -1)) for number in last}


def _committed(settings: StorageSettings, places: list[TopicPartition]) -> dict[int, int]:
    # Not by the admin client: its list_consumer_group_offsets crashed the process (2.16.1) in one of three tries at a
    # broker that had just started and was still loading the group.
    deadline = time.monotonic() + _REQUEST_SECONDS
    consumer = Consumer(settings.librdkafka() | {"group.id": settings.kafka_group, "log_level": 0})
    try:
        while True:
            try:
                return {place.partition: place.offset for place in consumer.committed(places, timeout=_REQUEST_SECONDS)}
            except KafkaException as error:
                if time.monotonic() > deadline or "COORDINATOR" not in _reason(error):
                    raise Unavailable(_reason(error)) from error
                time.sleep(0.2)
    finally:
        consumer.close()


def _ends(admin: AdminClient, places: list[TopicPartition], spec: OffsetSpec) -> dict[int, int]:
    futures = admin.list_offsets(dict.fromkeys(places, spec), request_timeout=_REQUEST_SECONDS)
    return {place.partition: _result(future).offset for place, future in futures.items()}


def _connect(settings: StorageSettings, wait_seconds: float) -> tuple[AdminClient, dict[str, int]]:
    """A client, and the partitions of each topic once the log answers."""
    deadline = time.monotonic() + wait_seconds
    told: list[KafkaError] = []
    admin = _admin(settings, told.append)
    while True:
        try:
            topics = _topics(admin, min(_REQUEST_SECONDS, max(wait_seconds, 5.0)))
        except Unavailable as error:
            admin.poll(0)
            _raise_refusal(settings, told, error)
            if time.monotonic() >= deadline:
                raise Unavailable(
                    f"Kafka at {settings.kafka_bootstrap_servers} does not answer ({error});"
                    " check that it runs and that KAFKA_BOOTSTRAP_SERVERS and KAFKA_SECURITY_PROTOCOL fit"
                ) from error
            time.sleep(0.2)
        else:
            return admin, {name: len(topic.partitions) for name, topic in topics.items()}


def _admin(settings: StorageSettings, tell: Callable[[KafkaError], None]) -> AdminClient:
    # Its own log lines would go to standard error, beside ours; what matters comes back as errors.
    quiet = {"log_level": 0, "socket.connection.setup.timeout.ms": 5000, "error_cb": tell}
    try:
        return AdminClient(settings.librdkafka() | quiet)  # type: ignore[arg-type]  # its stubs know no callbacks
    except KafkaException as error:
        why = _reason(error).rpartition("Failed to create admin client: ")[2]
        raise Unavailable(f"the settings of Kafka cannot be used: {why}; see KAFKA_… in `doctor --settings`") from error


def _raise_refusal(settings: StorageSettings, told: Sequence[KafkaError], cause: Unavailable) -> None:
    """A broker that answers, and refuses, does so again: waiting for it would only hide why."""
    for error in told:
        if error.name() in _REFUSALS:
            words = re.sub(r"^\w+://\S+ | \(after \d+ms in state \w+\)$", "", error.str())
            advice = f"check {_REFUSALS[error.name()]}"
            raise Unavailable(f"Kafka at {settings.kafka_bootstrap_servers} refuses: {words}; {advice}") from cause


def _topics(admin: AdminClient, seconds: float, name: str | None = None) -> dict[str, TopicMetadata]:
    try:
        return admin.list_topics(name, timeout=seconds).topics
    except KafkaException as error:
        raise Unavailable(_reason(error)) from error


def _create(admin: AdminClient, plan: TopicPlan) -> None:
    topic = NewTopic(plan.name, plan.partitions, plan.replication, config=dict(plan.config))
    try:
        _result(admin.create_topics([topic], operation_timeout=_REQUEST_SECONDS)[plan.name])
    except Unavailable as error:
        if "TOPIC_ALREADY_EXISTS" not in str(error):  # another process was faster
            raise Unavailable(f"topic {plan.name} cannot be created: {error}") from error


def _await_leaders(admin: AdminClient, name: str) -> None:
    """Until the log tells clients of a new topic: a worker that came before would idle with nothing to read."""
    deadline = time.monotonic() + _REQUEST_SECONDS
    while time.monotonic() < deadline:
        topic = _topics(admin, _REQUEST_SECONDS, name)[name]
        if topic.partitions and all(partition.leader >= 0 for partition in topic.partitions.values()):
            return
        time.sleep(0.05)
    raise Unavailable(f"topic {name} was created, but has no leader after {_REQUEST_SECONDS:g} s; see the broker's log")


def _shape(plan: TopicPlan, partitions: int) -> list[str]:
    if not plan.is_partitions_fixed or partitions == plan.partitions:
        return []
    return [f"topic {plan.name}: has {partitions} partitions, should have {plan.partitions}; delete it, `up` makes it"]


def _check(admin: AdminClient, plan: TopicPlan) -> list[Difference]:
    resource = ConfigResource(ResourceType.TOPIC, plan.name)
    entries: Any = _result(admin.describe_configs([resource])[resource])
    return differences(plan.name, plan.config, {name: entry.value or "" for name, entry in entries.items()})


def _put_right(admin: AdminClient, difference: Difference) -> str:
    entry = ConfigEntry(difference.name, difference.wanted, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, difference.topic, incremental_configs=[entry])
    try:
        _result(admin.incremental_alter_configs([resource])[resource])
    except Unavailable as error:
        return f"{difference}, and cannot be changed from here: {error}"
    return f"{difference}: changed"


def _result(future: "Future[Any]") -> Any:
    try:
        return future.result(_REQUEST_SECONDS)
    except KafkaException as error:
        raise Unavailable(_reason(error)) from error
    except TimeoutError as error:
        raise Unavailable(f"no answer within {_REQUEST_SECONDS:g} s") from error


def _reason(error: KafkaException) -> str:
    cause = error.args[0]
    return f"{cause.name()}: {cause.str()}"
