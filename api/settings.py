"""Settings of an API process, read once from the environment."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from storage.settings import EventLimitSettings

MEBIBYTE = 1024 * 1024


class ApiSettings(EventLimitSettings):
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
