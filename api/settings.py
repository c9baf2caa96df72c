"""Settings of an API process, read once from the environment."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from schemas.addresses import name_server
from schemas.limits import parse_limits
from schemas.quotas import NO_QUOTAS, Quotas, parse_quotas
from storage.settings import EventLimitSettings

MEBIBYTE = 1024 * 1024


def _check_limits(text: str) -> str:
    parse_limits(text)
    return text


def _check_quotas(text: str) -> str:
    parse_quotas(text)
    return text


RateLimits = Annotated[str, AfterValidator(_check_limits)]


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

    delivery_seconds: float = Field(
        5, ge=1, le=10, description="Longest time an event waits for a log that is there but does not answer; then 503."
    )
    in_flight_events: int = Field(50_000, ge=1, description="Most events that wait for the log at once; then 503.")
    in_flight_bytes: int = Field(64 * MEBIBYTE, ge=MEBIBYTE, description="Most bytes that wait for the log at once.")
    min_free_bytes: int = Field(
        2 * 1024**3,
        ge=0,
        description="Free disk of the embedded broker below which (or below 5 %) the door answers 503; 0 = never.",
    )

    rate_limits: bool = Field(True, description="Limit how often callers may ask; `off` ends all rate limits.")
    plan_quotas: Annotated[str, AfterValidator(_check_quotas)] = Field(
        "off",
        description="What accounts may have by their plan: `on` for the usual numbers, or JSON such as"
        ' {"free": {"sites": 3, "events": 100000}}; `off` limits nothing.',
    )
    limit_native: RateLimits = Field(
        "600/60", description="Native requests of one key, as requests/seconds; 0 = no limit."
    )
    limit_native_ingest: RateLimits = Field("60000/60", description="Native requests of one key that send events.")
    limit_realtime: RateLimits = Field("6000/60", description="Native requests of one key for live figures.")
    limit_jetrack: RateLimits = Field("600/60", description="Jetrack's requests of one key.")
    limit_zta: RateLimits = Field(
        "100/60,1000/3600", description="ZTA's requests of one user, by token and keys together."
    )
    limit_zta_stats_api: RateLimits = Field("100/60", description="ZTA's /stats-api requests of one key.")
    limit_zta_track: RateLimits = Field("1000/60", description="ZTA's /track requests from one address.")
    limit_cohorly_ingest: RateLimits = Field(
        "100/10", description="Cohorly's /track and /engage requests from one address."
    )
    limit_cohorly: RateLimits = Field("0", description="Cohorly's other requests of one key.")
    limit_ovyxa_free: RateLimits = Field("1000/3600", description="Ovyxa's requests of an account of the plan free.")
    limit_ovyxa_pro: RateLimits = Field("5000/3600", description="Ovyxa's requests of an account of the plan pro.")
    limit_ovyxa_enterprise: RateLimits = Field(
        "0", description="Ovyxa's requests of an account of the plan enterprise."
    )
    limit_login: RateLimits = Field(
        "10/60", description="Failed logins and resets from one address for one e-mail address."
    )

    login_secret: SecretStr | None = Field(
        None, description="Signs login tokens, 32 random characters or more; by default made once and kept."
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Seals webhook secrets and credentials of sources, 32 random characters or more, with commas"
        " between a new key and older ones; by default made once and kept.",
    )
    webhook_allow_private: bool = Field(
        False, description="Let webhooks lead to private addresses and other ports; for development."
    )
    public_url: str | None = Field(
        None, pattern="^https?://[^ ]+$", description="Where browsers reach the API; links in mails begin with it."
    )
    smtp_url: SecretStr | None = Field(
        None,
        description="Mail server: smtp://user:password@host:587 or smtps://...; without it mails are logged.",
    )
    mail_from: str = Field("streamgauge@localhost", description="Sender of the mails.")
    slack_url: SecretStr | None = Field(
        None, description="Incoming webhook of Slack for alerts with the channel slack; without it they skip it."
    )

    dns_server: str | None = Field(
        None, description="Name server, address:port, that is asked for records of sites; by default the machine's."
    )

    @property
    def quotas(self) -> Quotas:
        """What `plan_quotas` says, unless all limits are off."""
        return parse_quotas(self.plan_quotas) if self.rate_limits else NO_QUOTAS

    def link(self, path: str) -> str:
        """An address for mails. Never made from a request: who sends it would choose where the secret goes."""
        return (self.public_url or f"http://{self.host}:{self.port}{self.root_path}").rstrip("/") + path

    @field_validator("dns_server")
    @classmethod
    def _check_server(cls, value: str | None) -> str | None:
        if value is not None:
            name_server(value)
        return value

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
