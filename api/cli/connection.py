"""Which Kafka a command talks to: the cluster that is named, else the embedded broker of the data directory."""

import json
from typing import Final, TypeVar

from storage.errors import Unavailable
from storage.settings import StorageSettings

_Settings = TypeVar("_Settings", bound=StorageSettings)
LOOPBACK: Final = "127.0.0.1"


def resolve(settings: _Settings) -> _Settings:
    """The same settings with the bootstrap servers filled in; raises Unavailable when no broker is known."""
    if settings.kafka_bootstrap_servers:
        return settings
    try:
        port = int(json.loads(settings.directory.broker_file.read_text())["port"])
    except (FileNotFoundError, ValueError, KeyError):
        raise Unavailable(
            f"no Kafka is known for {settings.directory.root}: run `streamgauge up` (or `streamgauge broker`) on it,"
            " or set KAFKA_BOOTSTRAP_SERVERS"
        ) from None
    return settings.model_copy(update={"kafka_bootstrap_servers": f"{LOOPBACK}:{port}"})
