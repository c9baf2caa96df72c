"""Events as they go to the lake: many at once column by column, or one as a row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Literal

from msgspec import Struct

from schemas.events import Event

Device = Literal["desktop", "mobile", "tablet"]
Channel = Literal["paid", "social", "email", "organic", "referral", "direct"]


@dataclass(frozen=True, slots=True)
class Agent:
    """One user agent, understood; what it does not say is None."""

    browser: str | None = None
    browser_version: str | None = None
    os: str | None = None
    device: str | None = None
    is_bot: bool = False
    bot_rule: str | None = None


@dataclass(frozen=True, slots=True)
class Campaign:
    """What brought a person here, as the link was tagged."""

    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    utm_term: str | None = None
    utm_content: str | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """The referring domain, `(direct)` where there is none, and the channel; both None without a page."""

    referrer_domain: str | None = None
    channel: Channel | None = None


NOBODY = Agent()
UNTAGGED = Campaign()
NOWHERE_FROM = Arrival()


class Web(Struct, frozen=True, gc=False):
    """What enrichment makes of one event; the parts that many events share are objects that they share."""

    url: str | None = None
    path: str | None = None
    title: str | None = None
    referrer: str | None = None
    country: str | None = None
    arrival: Arrival = NOWHERE_FROM
    campaign: Campaign = UNTAGGED
    agent: Agent = NOBODY


NO_WEB = Web()


class Run(Struct, frozen=True, gc=False):
    """What consecutive events of one segment, or one foreign line, share."""

    partition: int
    offset: int
    events: int
    project: int
    received: int  # unix ms
    source: str
    visitor: str | None = None
    country: str | None = None
    agent: str | None = None


@dataclass(slots=True)
class Events:
    """Decoded events in the order of the log, column by column."""

    runs: list[Run] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)  # record-wide
    event_ids: list[str] = field(default_factory=list)
    distinct_ids: list[str] = field(default_factory=list)
    identified_by: list[str | None] = field(default_factory=list)
    timestamps: Sequence[int] | memoryview = ()  # unix ms; a view is of 64 bits each
    webs: list[Web] = field(default_factory=list)  # none at all where no event has any
    dropped: list[int] = field(default_factory=list)  # which of these lists' places do not become rows

    def __len__(self) -> int:
        return len(self.events)

    def extend(self, other: "Events") -> None:
        """Append the events of another, before anything else is known of both."""
        self.runs += other.runs
        self.events += other.events
        self.indices += other.indices
        self.event_ids += other.event_ids

    def run_of_each(self) -> Iterator[Run]:
        """The run of every event."""
        return chain.from_iterable(repeat(run, run.events) for run in self.runs)


class WebFields(Struct, frozen=True, gc=False):
    """The web columns of one row; all absent for most server events."""

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
