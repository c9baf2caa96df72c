"""What every process must know: where the data is, which Kafka, which database."""

import re
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.events import HARD_LIMITS, EventLimits

# What is the same in a URI, a key and a file's path, whoever encodes it.
_LAKE_URI = re.compile(r"s3://[a-z0-9][a-z0-9.-]+(/[A-Za-z0-9._=-]+)*/?")


class DataDirectory:
    """The places below one data directory; nothing else in the code spells them."""

    __slots__ = ("root",)

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @property
    def lake(self) -> Path:
        return self.root / "lake"

    @property
    def kafka(self) -> Path:
        return self.root / "kafka"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def metrics(self) -> Path:
        return self.run / "metrics"

    @property
    def broker_file(self) -> Path:
        return self.run / "broker.json"

    @property
    def secret_key(self) -> Path:
        return self.root / "secret.key"

    @property
    def key_revision(self) -> Path:
        return self.run / "keys.rev"

    @property
    def limits(self) -> Path:
        return self.run / "limits"

    @property
    def login_secret(self) -> Path:
        return self.root / "login.key"

    def create(self) -> Self:
        """Make the directories, readable by their owner only; safe to repeat."""
        for path in (self.root, self.lake, self.kafka, self.run, self.logs, self.metrics):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self


class StorageSettings(BaseSettings):
    """Settings shared by all processes, read once from the environment."""

    # An empty variable is how a compose file says "not set".
    model_config = SettingsConfigDict(
        env_prefix="STREAMGAUGE_", frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True
    )

    data_dir: Path = Field(Path("data"), description="Data directory: lake, broker log, metadata, logs.")
    database_url: SecretStr | None = Field(
        None,
        validation_alias="DATABASE_URL",
        description="SQLAlchemy URL of the metadata; SQLite in the data directory by default.",
    )
    kafka_bootstrap_servers: str | None = Field(
        None,
        validation_alias="KAFKA_BOOTSTRAP_SERVERS",
        description="A Kafka cluster to use; without it the embedded broker runs.",
    )
    kafka_security_protocol: str = Field(
        "PLAINTEXT",
        validation_alias="KAFKA_SECURITY_PROTOCOL",
        description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.",
    )
    kafka_sasl_mechanism: str | None = Field(
        None, validation_alias="KAFKA_SASL_MECHANISM", description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."
    )
    kafka_sasl_username: str | None = Field(None, validation_alias="KAFKA_SASL_USERNAME", description="SASL user name.")
    kafka_sasl_password: SecretStr | None = Field(
        None, validation_alias="KAFKA_SASL_PASSWORD", description="SASL password."
    )
    kafka_ssl_ca_location: Path | None = Field(
        None,
        validation_alias="KAFKA_SSL_CA_LOCATION",
        description="PEM file of the authorities that sign the brokers' certificates.",
    )
    kafka_topic: str = Field("streamgauge.events", description="Topic of the accepted events.")
    kafka_live_topic: str = Field("streamgauge.live", description="Compacted topic of the live counters.")
    kafka_group: str = Field("streamgauge", description="Consumer group of the workers.")
    kafka_partitions: int = Field(4, ge=1, le=1024, description="Partitions of the events topic when it is created.")
    kafka_replication: int = Field(1, ge=1, le=7, description="Replication factor of the topics when they are created.")
    lake_uri: str | None = Field(
        None,
        description="Where the lake's tables are: s3://bucket/prefix of an S3-compatible store, reached by the standard"
        " AWS_* variables; in the data directory by default.",
    )
    lake_shown_as: str | None = Field(
        None,
        description="Where analysts find the lake (a mount or an s3:// prefix), when not at its path on this host.",
    )
    lake_group_readable: bool = Field(
        False,
        description="Let the group of the data directory read the lake: directories 0750 and files 0640.",
    )

    @property
    def directory(self) -> DataDirectory:
        return DataDirectory(self.data_dir)

    @field_validator("lake_uri")
    @classmethod
    def _is_prefix(cls, uri: str | None) -> str | None:
        if uri and not _LAKE_URI.fullmatch(uri):
            raise ValueError(f"name s3://bucket/prefix (letters, digits and ._=-), or nothing for a disk, not {uri!r}")
        return uri or None

    @property
    def lake_place(self) -> str:
        """Where the tables are: a directory or an s3:// prefix."""
        return self.lake_uri or str(self.directory.lake)

    @property
    def metadata_url(self) -> str:
        """The SQLAlchemy URL of the metadata database."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.directory.root / 'meta.db'}"

    def librdkafka(self) -> dict[str, str | int | float | bool]:
        """Connection properties for confluent-kafka; raises ValueError when no bootstrap server is known."""
        if not self.kafka_bootstrap_servers:
            raise ValueError("no Kafka known: set KAFKA_BOOTSTRAP_SERVERS or start the embedded broker")
        properties: dict[str, str | int | float | bool | None] = {
            "bootstrap.servers": self.kafka_bootstrap_servers,
            "security.protocol": self.kafka_security_protocol,
            "sasl.mechanism": self.kafka_sasl_mechanism,
            "sasl.username": self.kafka_sasl_username,
            "sasl.password": self.kafka_sasl_password.get_secret_value() if self.kafka_sasl_password else None,
            "ssl.ca.location": str(self.kafka_ssl_ca_location) if self.kafka_ssl_ca_location else None,
        }
        return {name: value for name, value in properties.items() if value is not None}


_LIMITS = EventLimits()


class EventLimitSettings(StorageSettings):
    """What one event may be: judged by the door, and by the workers for lines of foreign producers."""

    event_bytes: int = Field(_LIMITS.event_bytes, ge=1024, le=HARD_LIMITS.event_bytes, description="Largest event.")
    name_characters: int = Field(
        _LIMITS.name_characters, ge=1, le=HARD_LIMITS.name_characters, description="Longest event name."
    )
    property_keys: int = Field(_LIMITS.property_keys, ge=1, description="Most keys in an event's properties.")
    property_depth: int = Field(_LIMITS.depth, ge=1, le=64, description="Deepest nesting of an event.")
    string_characters: int = Field(_LIMITS.string_characters, ge=1, description="Longest text in the properties.")
    id_characters: int = Field(
        _LIMITS.id_characters, ge=16, le=HARD_LIMITS.id_characters, description="Longest id or source."
    )
    future_seconds: int = Field(_LIMITS.future_seconds, ge=0, description="How far ahead of the clock an event may be.")

    @property
    def event_limits(self) -> EventLimits:
        """The limits as the checks take them."""
        return EventLimits(
            event_bytes=self.event_bytes,
            name_characters=self.name_characters,
            property_keys=self.property_keys,
            depth=self.property_depth,
            string_characters=self.string_characters,
            id_characters=self.id_characters,
            future_seconds=self.future_seconds,
        )
