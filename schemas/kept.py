"""What a project keeps beside its events: goals, funnels, segments, alerts, webhooks, dashboards and the like."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

Match = Literal["exact", "contains", "regex"]
WebhookFormat = Literal["native", "zta", "ovyxa"]
SourceStatus = Literal["provisioning", "active", "error"]

COOLDOWN_SECONDS = {"threshold": 3600, "comparison": 24 * 3600, "anomaly": 6 * 3600}
WEBHOOK_EVENTS: dict[WebhookFormat, tuple[str, ...]] = {
    "native": ("pageview", "event", "goal", "alert", "session_end", "activity"),
    "zta": ("pageview", "event", "goal", "alert", "session_end", "activity"),
    "ovyxa": ("goal.completed", "usage.threshold", "realtime.spike"),
}
ALERT_METRICS = ("pageviews", "uniqueVisitors", "sessions", "bounceRate", "avgSessionDuration", "conversionRate")
SHARE_PERIODS = ("24h", "7d", "30d", "90d", "365d")


class Body(Struct, frozen=True, kw_only=True, rename="camel"):
    """What is kept under an id. What only the service changes is in `state`: no caller writes it."""

    kind: ClassVar[str] = ""
    prefix: ClassVar[str] = ""
    required: ClassVar[tuple[str, ...]] = ()
    state: ClassVar[frozenset[str]] = frozenset()
    # The kind it is kept below, if it is part of something.
    below: ClassVar[str] = ""
    # Of a log that the service writes, so many are kept below each parent; 0 for what callers make.
    newest: ClassVar[int] = 0
    # Of what callers make, a project, or a parent, has at most so many: lists of them are read whole.
    most: ClassVar[int] = 1000

    @property
    def label(self) -> str:
        """What people know it by."""
        return str(getattr(self, "name", getattr(self, "title", "")))


class Goal(Body, frozen=True, kw_only=True):
    """Reached by a page, by an event, or by a session that lasts; `event` is what some call the action."""

    kind: ClassVar[str] = "goal"
    prefix: ClassVar[str] = "goal"
    required: ClassVar[tuple[str, ...]] = ("name", "type")

    name: str
    type: Literal["pageview", "event", "duration"]
    path: str | None = None
    match_type: Match = "exact"
    event: str | None = None
    event_category: str | None = None
    event_label: str | None = None
    filters: Any = None
    duration_seconds: int | None = None
    value: float = 0.0


class Step(Struct, frozen=True, kw_only=True, rename="camel"):
    """One step of a funnel: a page, an event or a goal."""

    type: Literal["pageview", "event", "goal"]
    name: str = ""
    path: str | None = None
    match_type: Match = "exact"
    event: str | None = None
    event_category: str | None = None
    event_label: str | None = None
    goal_id: str | None = None
    filters: Any = None


class Funnel(Body, frozen=True, kw_only=True):
    """Steps in their order, all within the window counted from the first."""

    kind: ClassVar[str] = "funnel"
    prefix: ClassVar[str] = "funnel"
    required: ClassVar[tuple[str, ...]] = ("name", "steps")

    name: str
    steps: tuple[Step, ...]
    window_seconds: int = 3600

    @property
    def goal_ids(self) -> list[str]:
        """The goals that its steps name."""
        return [step.goal_id for step in self.steps if step.goal_id is not None]


class Segment(Body, frozen=True, kw_only=True):
    """A filter with a name."""

    kind: ClassVar[str] = "segment"
    prefix: ClassVar[str] = "seg"
    required: ClassVar[tuple[str, ...]] = ("name", "filters")

    name: str
    filters: Any


class Alert(Body, frozen=True, kw_only=True):
    """A condition on a number, and whom to tell; without a cool-down that of its type holds."""

    kind: ClassVar[str] = "alert"
    prefix: ClassVar[str] = "alert"
    required: ClassVar[tuple[str, ...]] = ("name", "type", "metric")
    state: ClassVar[frozenset[str]] = frozenset({"lastTriggeredAt", "triggerCount"})

    name: str
    type: Literal["threshold", "comparison", "anomaly"]
    metric: str
    operator: Literal[">", "<", ">=", "<="] | None = None
    threshold: float | None = None
    period: Literal["1h", "24h", "7d"] = "1h"
    compare_with: Literal["previous_period", "previous_week", "previous_month"] | None = None
    sensitivity: Literal["low", "medium", "high"] = "medium"
    channels: tuple[Literal["email", "slack", "webhook", "sms"], ...] = ()
    enabled: bool = True
    cooldown_seconds: int | None = None
    last_triggered_at: datetime | None = None
    trigger_count: int = 0

    @property
    def condition(self) -> str:
        """`pageviews > 1000`, in one line."""
        if self.type == "anomaly":
            return f"{self.metric} anomaly ({self.sensitivity})"
        percent, against = ("%", f" vs {self.compare_with}") if self.type == "comparison" else ("", "")
        return f"{self.metric} {self.operator} {self.threshold:g}{percent}{against}"

    @property
    def cooldown(self) -> int:
        """Seconds of silence after it went off."""
        return COOLDOWN_SECONDS[self.type] if self.cooldown_seconds is None else self.cooldown_seconds


class Trigger(Body, frozen=True, kw_only=True):
    """One time an alert went off, when it was made; below its alert."""

    kind: ClassVar[str] = "trigger"
    prefix: ClassVar[str] = "trigger"
    below: ClassVar[str] = "alert"
    newest: ClassVar[int] = 1000

    metric: str
    value: float
    threshold: float | None
    condition: str
    notifications_sent: tuple[str, ...] = ()
    acknowledged: bool = False
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None


class Webhook(Body, frozen=True, kw_only=True):
    """An address that is told of events; what signs the messages is sealed beside it."""

    kind: ClassVar[str] = "webhook"
    prefix: ClassVar[str] = "wh"
    required: ClassVar[tuple[str, ...]] = ("url", "events")
    state: ClassVar[frozenset[str]] = frozenset({"failures", "failingSince", "lastTriggeredAt", "activeSince"})
    # So many messages that failed in a row, over so long, and it is switched off.
    most_failures: ClassVar[int] = 20
    patience: ClassVar[timedelta] = timedelta(hours=1)

    url: str
    events: tuple[str, ...]
    format: WebhookFormat = "native"
    active: bool = True
    description: str = ""
    failures: int = 0
    failing_since: datetime | None = None
    last_triggered_at: datetime | None = None
    # What came in before is not told; None: since it was made.
    active_since: datetime | None = None

    @property
    def label(self) -> str:
        return self.url

    def switched_on(self, now: datetime) -> "Webhook":
        """As if it were new."""
        return replace(self, active=True, failures=0, failing_since=None, active_since=now)


class Delivery(Body, frozen=True, kw_only=True):
    """One message to a webhook and what became of it; below its webhook."""

    kind: ClassVar[str] = "delivery"
    prefix: ClassVar[str] = "delivery"
    below: ClassVar[str] = "webhook"
    newest: ClassVar[int] = 100

    event: str
    payload: str
    # The same in every attempt, for receivers that must not act twice.
    message_id: str = ""
    attempts: int = 0
    state_: Literal["pending", "delivered", "failed"] = field(name="state", default="pending")
    response_status: int | None = None
    error: str | None = None
    finished_at: datetime | None = None


class Annotation(Body, frozen=True, kw_only=True):
    """Something that happened on a day."""

    kind: ClassVar[str] = "annotation"
    prefix: ClassVar[str] = "ann"
    required: ClassVar[tuple[str, ...]] = ("date",)

    date: str
    title: str = "Event"
    description: str = ""
    color: str = "#0d6efd"
    icon: str = "star"


class Export(Body, frozen=True, kw_only=True):
    """A download of a range; it is made while it is fetched, so it is ready at once."""

    kind: ClassVar[str] = "export"
    prefix: ClassVar[str] = "exp"
    required: ClassVar[tuple[str, ...]] = ("type",)
    state: ClassVar[frozenset[str]] = frozenset({"status", "rows", "bytes", "expiresAt"})

    type: Literal["events", "summary", "sessions", "activity"]
    format: Literal["csv", "json", "ndjson", "parquet"] = "csv"
    from_: datetime | None = field(name="from", default=None)
    to: datetime | None = None
    filters: Any = None
    status: Literal["ready", "failed"] = "ready"
    rows: int | None = None
    bytes: int | None = None
    expires_at: datetime | None = None

    @property
    def label(self) -> str:
        return f"{self.type}.{self.format}"


class Dashboard(Body, frozen=True, kw_only=True):
    """A page of widgets, which are kept below it."""

    kind: ClassVar[str] = "dashboard"
    prefix: ClassVar[str] = "dash"
    required: ClassVar[tuple[str, ...]] = ("name",)

    name: str


class Position(Struct, frozen=True):
    """Where a widget stands, in cells of a grid of 12 columns."""

    x: int = 0
    y: int = 0
    w: int = 3
    h: int = 2


class Widget(Body, frozen=True, kw_only=True):
    """A question that is asked again and again, and how its answer is drawn."""

    kind: ClassVar[str] = "widget"
    prefix: ClassVar[str] = "wid"
    below: ClassVar[str] = "dashboard"
    # All of them are asked for at once.
    most: ClassVar[int] = 50
    required: ClassVar[tuple[str, ...]] = ("title", "type")

    title: str
    type: Literal["number", "line", "bar", "table", "funnel", "retention", "map"]
    query: dict[str, Any] = {}
    position: Position = Position()


class Sync(Struct, frozen=True, kw_only=True, rename="camel"):
    """How far a source was pulled: all that its provider has of before `cursor` was taken. Due at `next`."""

    cursor: datetime
    next: datetime
    # In a row; none since the last success.
    failures: int = 0
    # Items so far: those the log has, and those no event could be made of.
    accepted: int = 0
    refused: int = 0


class Source(Body, frozen=True, kw_only=True):
    """Where events come from; its credentials are sealed beside it, and its key stamps events with its id."""

    kind: ClassVar[str] = "source"
    prefix: ClassVar[str] = "src"
    required: ClassVar[tuple[str, ...]] = ("provider", "name", "credentials")
    state: ClassVar[frozenset[str]] = frozenset({"status", "statusMessage", "lastSync", "keyId", "sync"})

    provider: str
    name: str
    status: SourceStatus = "provisioning"
    status_message: str | None = None
    last_sync: datetime | None = None
    key_id: str | None = None
    # Where its provider is asked for events; from the first request to do so.
    sync: Sync | None = None


@dataclass(frozen=True, slots=True)
class SourceActivity:
    """When the last event of a source came in, and how many are of today."""

    last: datetime
    today: int


class Share(Body, frozen=True, kw_only=True):
    """A link that lets anybody who has it see some periods."""

    kind: ClassVar[str] = "share"
    prefix: ClassVar[str] = "share"

    periods: tuple[str, ...] = ("24h", "7d", "30d", "90d")
    expires_at: datetime | None = None


T = TypeVar("T", bound=Body)

# How a widget of each type is asked where it does not say.
WIDGET_QUESTIONS = {
    "number": "overview",
    "line": "overview",
    "bar": "breakdown",
    "table": "breakdown",
    "map": "breakdown",
    "funnel": "funnel",
    "retention": "retention",
}


def alert_target(metric: str) -> tuple[str, str] | None:
    """The kind and the id of what an alert's metric is about, if it names one; raises ValueError for no metric."""
    if metric in ALERT_METRICS:
        return None
    kind, _, rest = metric.partition(".")
    named, _, figure = rest.partition(".")
    if named and (kind, figure) in (("goal", "completions"), ("goal", "conversionRate"), ("funnel", "conversionRate")):
        return kind, named
    raise ValueError(f"{metric!r} is no metric")


# What a new project begins with: (title, type, query, position).
OVERVIEW: tuple[Widget, ...] = (
    Widget(title="Visitors", type="number", query={"metric": "visitors"}, position=Position(0, 0)),
    Widget(title="Pageviews", type="number", query={"metric": "pageviews"}, position=Position(3, 0)),
    Widget(title="Sessions", type="number", query={"metric": "sessions"}, position=Position(6, 0)),
    Widget(title="Bounce rate", type="number", query={"metric": "bounceRate"}, position=Position(9, 0)),
    Widget(
        title="Visitors by day",
        type="line",
        query={"metric": "visitors", "interval": "day"},
        position=Position(0, 2, 12, 4),
    ),
    Widget(title="Top pages", type="table", query={"dimension": "path"}, position=Position(0, 6, 6, 5)),
    Widget(title="Referrers", type="bar", query={"dimension": "referrer"}, position=Position(6, 6, 6, 5)),
    Widget(title="Countries", type="map", query={"dimension": "country"}, position=Position(0, 11, 12, 5)),
)
