"""One accepted event as it goes to the lake."""

from msgspec import Struct


class WebFields(Struct, frozen=True, gc=False):
    """What enrichment makes of a page, a referrer and an agent; all absent for most server events."""

    url: str | None = None
    path: str | None = None
    title: str | None = None
    referrer: str | None = None
    referrer_domain: str | None = None
    channel: str | None = None
    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    utm_term: str | None = None
    utm_content: str | None = None
    country: str | None = None
    browser: str | None = None
    browser_version: str | None = None
    os: str | None = None
    device: str | None = None
    is_bot: bool = False
    bot_rule: str | None = None


class Row(Struct, frozen=True, gc=False):
    """A row of the `events` table; instants in unix ms, JSON as bytes."""

    project_id: int
    event_id: str
    event: str
    distinct_id: str
    identified_by: str | None
    anonymous_id: str | None
    session_id: str | None
    timestamp: int
    received_at: int
    source: str
    is_pageview: bool
    is_system: bool
    properties: bytes
    context: bytes | None
    web: WebFields
    kafka_partition: int
    kafka_offset: int
    record_index: int
