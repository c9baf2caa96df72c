"""Settings of an API process, read once from the environment."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from schemas.events import EventLimits
from storage.settings import StorageSettings

MEBIBYTE = 1024 * 1024
_LIMITS = EventLimits()


class ApiSettings(StorageSettings):
    """Where the API listens, and the limits of its door."""

    host: str = Field("127.0.0.1", description="Address the API listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port the API listens on.")
    root_path: str = Field("", pattern="^(/.*[^/])?$", description="Path prefix that a proxy strips, such as /gauge.")
    api_workers: int = Field(1, ge=1, le=64, description="API processes of `streamgauge up`; they share the port.")
    metrics_host: str = Field("127.0.0.1", description="Address of /metrics when it has a port of its own.")
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="A port of its own for /metrics, which then leaves the API's port."
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Addresses or networks, comma-separated, whose X-Forwarded-For is believed."
    )
    country_file: Path | None = Field(
        None, description="MaxMind-format file (.mmdb) that knows countries of addresses."
    )

    body_bytes: int = Field(MEBIBYTE, ge=1024, description="Largest body of one event, before and after decompression.")
    batch_body_bytes: int = Field(
        5 * MEBIBYTE, ge=1024, description="Largest body of a batch, before and after decompression."
    )
    batch_events: int = Field(1000, ge=1, le=10_000, description="Most events in one batch.")
    body_seconds: float = Field(10, gt=0, description="Longest time a request's body may take to arrive.")
    expansion_ratio: float = Field(20, ge=1, description="Decompressed to compressed size above which an alarm counts.")
    event_bytes: int = Field(_LIMITS.event_bytes, ge=1024, le=200 * 1024, description="Largest event.")
    property_keys: int = Field(_LIMITS.property_keys, ge=1, description="Most keys in an event's properties.")
    property_depth: int = Field(_LIMITS.depth, ge=1, le=64, description="Deepest nesting of an event.")
    string_characters: int = Field(_LIMITS.string_characters, ge=1, description="Longest text in the properties.")
    id_characters: int = Field(_LIMITS.id_characters, ge=16, le=4096, description="Longest id or source.")
    future_seconds: int = Field(
        _LIMITS.future_seconds, ge=0, description="How far ahead of the door's clock an event may be."
    )

    in_flight_events: int = Field(50_000, ge=1, description="Most events that wait for the log at once; then 503.")
    in_flight_bytes: int = Field(64 * MEBIBYTE, ge=MEBIBYTE, description="Most bytes that wait for the log at once.")
    min_free_bytes: int = Field(
        2 * 1024**3,
        ge=0,
        description="Free disk of the embedded broker below which (or below 5 %) the door answers 503; 0 = never.",
    )

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split_proxies(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            ip_network(part, strict=False)
        return value

    @property
    def event_limits(self) -> EventLimits:
        return EventLimits(
            event_bytes=self.event_bytes,
            property_keys=self.property_keys,
            depth=self.property_depth,
            string_characters=self.string_characters,
            id_characters=self.id_characters,
            future_seconds=self.future_seconds,
        )
