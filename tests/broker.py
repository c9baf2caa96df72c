"""Fixtures that give a test a real Kafka broker."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.broker.artifact import Artifact, find_or_fetch
from storage.broker.process import Broker
from storage.settings import DataDirectory


@pytest.fixture(scope="session")
def kafka_server() -> Artifact:
    """The embedded server's files, fetched where they are not there yet."""
    return find_or_fetch(print)


@contextmanager
def running(broker: Broker) -> Iterator[Broker]:
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of the run's shared broker: the one named outside, a container, or the embedded one."""
    named = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if named:
        yield named
    elif os.environ.get("STREAMGAUGE_TEST_CONTAINERS") == "1":
        with container() as servers:
            yield servers
    else:
        artifact = request.getfixturevalue("kafka_server")
        with running(Broker(DataDirectory(tmp_path_factory.mktemp("kafka")), artifact)) as broker:
            yield broker.bootstrap_servers


@contextmanager
def container() -> Iterator[str]:
    """Kafka in a container; asked for by name, so a machine without Docker is an error here and no skip."""
    # Here, since it brings Docker's client, which a plain run has no use for.
    from testcontainers.community.kafka import KafkaContainer

    with KafkaContainer().with_kraft() as server:
        yield server.get_bootstrap_server()


@pytest.fixture
def own_directory(tmp_path: Path) -> DataDirectory:
    """The data directory of `own_broker`; its name is one that would need escaping nearly everywhere."""
    return DataDirectory(tmp_path / "dätä, with a comma")


@pytest.fixture
def own_broker(kafka_server: Artifact, own_directory: DataDirectory) -> Iterator[Broker]:
    """A private broker that the test may stop, kill and start again."""
    with running(Broker(own_directory, kafka_server)) as broker:
        yield broker
