"""Alerts over a real lake: looked at by the minute, told once, and each tenant its own."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api.alerts.closing import Closing
from api.alerts.evaluator import Evaluator, Post
from api.alerts.measuring import Meter
from api.alerts.spikes import Spikes, is_spike
from api.alerts.usage import Usage
from api.app import assemble
from api.mail import Mailer
from api.settings import ApiSettings
from api.webhooks.courier import Courier
from schemas.instants import to_millis
from schemas.kept import Alert, Body, Funnel, Goal, Step, Trigger, Webhook
from schemas.windows import TimeRange
from storage.meta.activities import Actor
from storage.meta.initialisation import initialise
from storage.meta.kept import Kept
from storage.meta.outbox import Waiting, messages_due, webhooks_due
from tests.api.webhooks.receiver import receiving
from tests.factories import LakeWriter, event_row
from tests.fakes import FakeProducer

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 2, 10, 9, 30, tzinfo=UTC)
MADE = NOW - 30 * DAY
BUSY = Alert(
    name="Busy", type="threshold", metric="pageviews", operator=">", threshold=2, channels=("webhook", "email", "slack")
)


class Mails(Mailer):
    """Mails as they would go out."""

    def __init__(self) -> None:
        super().__init__(None, "gauge@example.org")
        self.sent: list[tuple[str, str, str]] = []

    def send(self, to: str, subject: str, text: str) -> None:
        self.sent.append((to, subject, text))


class Watch:
    """Two tenants, a lake, and evaluators whose clock a test moves."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        settings = ApiSettings(data_dir=root)
        settings.directory.create()
        self.writer = LakeWriter(settings.directory.lake)
        self.services = assemble(settings, FakeProducer())
        self.services.analytics._lake.max_age_seconds = 0
        self.metadata = self.services.database
        for close in (
            self.metadata.close,
            self.services.analytics.close,
            self.services.refusals.close,
            self.services.limiter.close,
        ):
            stack.callback(close)
        self.metadata.migrate()
        self.runner = stack.enter_context(asyncio.Runner())
        self.shop, self.blog = (
            initialise(self.metadata, f"{name}@example.org", "correct horse battery", name, f"{name}.example", MADE)
            for name in ("ann", "eve")
        )
        self.things = self.services.things
        self.now = NOW
        self.post = Mails()
        self.slack_url: str | None = None
        self.courier = self.services.courier
        self.evaluator = self.another()

    def another(self) -> Evaluator:
        analytics = self.services.analytics
        tellers = (Closing(self.things, analytics), Spikes(self.things, analytics), Usage(self.things, analytics))
        post = Post(self.post, self.courier, self.slack_url)
        return Evaluator(self.things, Meter(self.things, analytics), post, tellers, lambda: self.now)

    def keep(self, body: Body, *, is_others: bool = False) -> Kept[Any]:
        project = (self.blog if is_others else self.shop).project.id
        return self.things.create(project, body, None, MADE)

    def pages(self, number: int, at: datetime, *, is_others: bool = False, event: str = "page_view") -> None:
        project = (self.blog if is_others else self.shop).project.id
        self.writer.append([event_row(at, f"u{n}", event, project=project) for n in range(number)])

    def look(self, evaluator: Evaluator | None = None) -> None:
        self.runner.run((evaluator or self.evaluator).step())

    def history(self, alert: Kept[Any]) -> list[Trigger]:
        return [one.body for one in self.things.all(Trigger, alert.project_id, parent_id=alert.id)]

    def waiting(self) -> list[Waiting]:
        late = self.now + DAY
        return [one for hook in webhooks_due(self.metadata, late) for one in messages_due(self.metadata, hook, late, 9)]


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    with ExitStack() as stack:
        yield Watch(tmp_path, stack)


def test_goes_off_once_tells_everybody_and_is_silent_for_an_hour(watch: Watch) -> None:
    hook = watch.keep(Webhook(url="https://hooks.example.org/", events=("alert", "goal"), format="zta"))
    watch.keep(Webhook(url="https://hooks.example.org/", events=("goal",)))
    watch.keep(Webhook(url="https://hooks.example.org/", events=("alert",), active=False))
    watch.keep(Webhook(url="https://hooks.example.org/", events=("alert",)), is_others=True)
    alert = watch.keep(BUSY)
    watch.pages(2, NOW - HOUR / 2)
    watch.look()
    assert watch.history(alert) == []
    watch.pages(1, NOW - MINUTE)
    watch.now += MINUTE
    watch.look()
    [trigger] = watch.history(alert)
    assert (trigger.value, trigger.threshold, trigger.condition) == (3, 2, "pageviews > 2")
    assert trigger.notifications_sent == ("email", "webhook")
    [waiting] = watch.waiting()
    assert (waiting.notice.webhook_id, waiting.notice.event) == (hook.id, "alert")
    assert waiting.notice.data == {
        "alertId": alert.id,
        "alertName": "Busy",
        "condition": "pageviews > 2",
        "metric": "pageviews",
        "currentValue": 3,
        "threshold": 2,
        "operator": ">",
    }
    [(to, subject, text)] = watch.post.sent
    assert (to, subject) == ("ann@example.org", "Alert: Busy")
    assert "pageviews in the last 1h: 3" in text
    noted = watch.things.get(Alert, alert.project_id, alert.id)
    assert noted is not None
    assert (noted.body.last_triggered_at, noted.body.trigger_count) == (watch.now, 1)
    watch.now += HOUR - MINUTE
    watch.pages(9, watch.now - MINUTE)
    watch.look()
    assert len(watch.history(alert)) == 1
    watch.now += MINUTE
    watch.look()
    assert len(watch.history(alert)) == 2


@pytest.mark.parametrize("status", [200, 500])
def test_slack_is_told_where_it_is_configured(watch: Watch, tmp_path: Path, status: int) -> None:
    with receiving(tmp_path / "slack") as slack:
        slack.status = status
        context = ssl.create_default_context(cafile=slack.authority)
        watch.courier = Courier(allows_private=True, context=context)
        watch.slack_url = slack.url
        alert = watch.keep(BUSY)
        watch.pages(3, NOW - MINUTE)
        watch.look(watch.another())
        [(_, _, body)] = slack.requests
        assert "pageviews in the last 1h: 3" in json.loads(body)["text"]
        assert watch.history(alert)[0].notifications_sent == ("email", "slack")


def test_each_tenant_has_its_own_figures(watch: Watch) -> None:
    mine, others = watch.keep(BUSY), watch.keep(BUSY, is_others=True)
    watch.pages(5, NOW - MINUTE, is_others=True)
    watch.look()
    assert (len(watch.history(mine)), len(watch.history(others))) == (0, 1)
    assert [to for to, *_ in watch.post.sent] == ["eve@example.org"]


def test_one_process_looks(watch: Watch) -> None:
    alert = watch.keep(Alert(name="a", type="threshold", metric="pageviews", operator=">=", threshold=0))
    watch.look()
    watch.things.change(
        Alert, alert.project_id, alert.id, lambda _: alert.body, None, NOW
    )  # as if it had never gone off
    second = watch.another()
    watch.look(second)
    assert len(watch.history(alert)) == 1
    watch.now += 2 * MINUTE  # the first one has died
    watch.look(second)
    assert len(watch.history(alert)) == 2


def test_switched_off_ones_and_things_that_are_gone_are_quiet(watch: Watch) -> None:
    at_all = {"type": "threshold", "operator": ">=", "threshold": 0}
    goal = watch.keep(Goal(name="g", type="event", event="signup"))
    off = watch.keep(Alert(name="off", metric="pageviews", enabled=False, **at_all))  # type: ignore[arg-type]
    gone = watch.keep(Alert(name="gone", metric=f"goal.{goal.id}.completions", **at_all))  # type: ignore[arg-type]
    on = watch.keep(Alert(name="on", metric="pageviews", **at_all))  # type: ignore[arg-type]
    watch.things.delete(Goal, goal.project_id, goal.id, Actor(), NOW)
    watch.look()
    assert [len(watch.history(one)) for one in (off, gone, on)] == [0, 0, 1]


def test_comparison_with_the_week_before(watch: Watch) -> None:
    alert = watch.keep(
        Alert(
            name="Fell",
            type="comparison",
            metric="uniqueVisitors",
            operator="<",
            threshold=50,
            compare_with="previous_week",
        )
    )
    watch.pages(10, NOW - 7 * DAY - MINUTE)
    watch.pages(4, NOW - MINUTE)
    watch.look()
    [trigger] = watch.history(alert)
    assert (trigger.value, trigger.condition) == (4, "uniqueVisitors < 50% vs previous_week")


def test_anomaly_is_asked_once_an_hour(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    alert = watch.keep(Alert(name="Odd", type="anomaly", metric="pageviews"))
    asked: list[datetime] = []
    real = Meter.read

    async def read(self: Meter, project: int, metric: str, span: Any, now: datetime) -> float | None:
        asked.append(span.start)
        return await real(self, project, metric, span, now)

    monkeypatch.setattr(Meter, "read", read)
    hour = NOW.replace(minute=0)
    for day in range(1, 15):
        watch.pages(4, hour - HOUR / 2 - day * DAY)
    for _ in range(3):
        watch.look()
        watch.now += MINUTE
    assert len(asked) == 15
    assert [len(watch.history(alert))] == [1]  # nothing came, where four had always come


def test_every_metric(watch: Watch) -> None:
    goal = watch.keep(Goal(name="g", type="event", event="signup"))
    funnel = watch.keep(
        Funnel(
            name="f",
            steps=(Step(type="event", event="page_view", name="a"), Step(type="goal", goal_id=goal.id, name="b")),
        )
    )
    watch.pages(4, NOW - 3 * MINUTE)
    watch.pages(1, NOW - 2 * MINUTE, event="signup")
    meter = Meter(watch.things, watch.services.analytics)
    span = TimeRange(NOW - HOUR, NOW)

    def read(metric: str) -> float | None:
        return watch.runner.run(meter.read(watch.shop.project.id, metric, span, NOW))

    assert {metric: read(metric) for metric in ("pageviews", "uniqueVisitors", "sessions", "conversionRate")} == {
        "pageviews": 4,
        "uniqueVisitors": 4,
        "sessions": 4,
        "conversionRate": 25.0,
    }
    assert (read("bounceRate"), read("avgSessionDuration")) == (100.0, 15)
    assert (read(f"goal.{goal.id}.completions"), read(f"goal.{goal.id}.conversionRate")) == (1, 25.0)
    assert read(f"funnel.{funnel.id}.conversionRate") == 25.0
    assert (read("goal.goal_x.completions"), read("funnel.funnel_x.conversionRate")) == (None, None)


def test_a_lake_that_is_behind_sets_nothing_off(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    alert = watch.keep(Alert(name="a", type="threshold", metric="pageviews", operator="<", threshold=10))
    marks = [to_millis(NOW - timedelta(minutes=6)), to_millis(NOW)]
    monkeypatch.setattr(watch.services.analytics._watermark, "read", lambda _: marks[0])
    watch.look()
    assert watch.history(alert) == []
    marks.pop(0)
    watch.look()
    assert len(watch.history(alert)) == 1


def test_sessions_that_are_over_are_told_once(watch: Watch) -> None:
    hook = watch.keep(Webhook(url="https://hooks.example.org/", events=("session_end", "goal")))
    watch.keep(Webhook(url="https://hooks.example.org/", events=("session_end",), active=False))
    other = watch.keep(Webhook(url="https://hooks.example.org/", events=("session_end",)), is_others=True)
    late = watch.things.create(
        hook.project_id, Webhook(url="https://hooks.example.org/", events=("session_end",)), None, NOW - 2 * MINUTE
    )
    goal = watch.keep(Goal(name="Long", type="duration", duration_seconds=240, value=3))
    watch.keep(Goal(name="Longer", type="duration", duration_seconds=1000))
    watch.pages(1, NOW - 40 * MINUTE)
    watch.pages(1, NOW - 36 * MINUTE)
    watch.pages(2, NOW - MINUTE)  # u0 again after half an hour, and u1
    watch.pages(1, NOW - 2 * HOUR, is_others=True)
    watch.look()
    watch.look()
    told = [(one.notice.webhook_id, one.notice.event) for one in watch.waiting()]
    assert sorted(told) == sorted([(hook.id, "session_end"), (hook.id, "goal"), (other.id, "session_end")])
    mine = {one.notice.event: one.notice for one in watch.waiting() if one.notice.webhook_id == hook.id}
    assert mine["goal"].data == {"goalId": goal.id, "goalName": "Long", "path": None, "value": 3}
    session = mine["session_end"].data
    assert (session["endedAt"], session["durationSeconds"], session["pageviews"]) == ("2026-02-10T08:54:00Z", 240, 2)
    assert "u0" not in str(session)
    watch.now += 30 * MINUTE
    watch.look()
    assert len(watch.waiting()) == 3
    watch.now += MINUTE
    watch.look()
    ends = [one.notice.webhook_id for one in watch.waiting() if one.notice.event == "session_end"]
    assert (ends.count(hook.id), ends.count(late.id), ends.count(other.id)) == (3, 2, 1)


def test_a_spike_is_told_once_an_hour(watch: Watch) -> None:
    hook = watch.keep(Webhook(url="https://hooks.example.org/", events=("realtime.spike",), format="ovyxa"))
    for window in range(1, 13):
        watch.pages(4, NOW - 5 * MINUTE * window - MINUTE)
    watch.pages(11, NOW - 2 * MINUTE)
    watch.look()
    assert watch.waiting() == []
    watch.pages(12, NOW - MINUTE)
    for minute in range(4):
        watch.now = NOW + minute * MINUTE
        watch.look()
    [waiting] = watch.waiting()
    assert (waiting.notice.webhook_id, waiting.notice.event) == (hook.id, "realtime.spike")
    assert waiting.notice.data["visitor_count"] == 12
    watch.now = NOW + HOUR
    watch.pages(12, watch.now - MINUTE)
    watch.look()
    assert len(watch.waiting()) == 2


def test_usage_is_told_at_eighty_percent_and_when_all_is_spent_once_a_month(watch: Watch) -> None:
    hook = watch.keep(Webhook(url="https://hooks.example.org/", events=("usage.threshold",), format="ovyxa"))
    watch.keep(Webhook(url="https://hooks.example.org/", events=("usage.threshold",), format="ovyxa"), is_others=True)
    watch.pages(8, watch.now - MINUTE)
    watch.look()
    assert watch.waiting() == [], "no plan limits events"
    watch.metadata.quotas = {"free": {"events": 10}}

    def told() -> list[tuple[str, Any]]:
        watch.now += MINUTE
        watch.look()
        return [(one.notice.webhook_id, one.notice.data) for one in watch.waiting()]

    eighty = (hook.id, {"threshold": 80, "used": 8, "limit": 10})
    assert told() == [eighty]
    assert told() == [eighty], "once"
    watch.pages(5, watch.now)
    assert told() == [eighty, (hook.id, {"threshold": 100, "used": 13, "limit": 10})]
    assert len(told()) == 2
    watch.now += timedelta(days=31)
    assert len(told()) == 2, "a new month begins with nothing"
    watch.pages(11, watch.now)
    assert told()[2:] == [(hook.id, {"threshold": 100, "used": 11, "limit": 10})]


@pytest.mark.parametrize(
    ("visitors", "before", "expected"),
    [(9, [0] * 12, False), (10, [0] * 12, True), (29, [10] * 12, False), (30, [10] * 12, True)],
)
def test_what_is_a_spike(visitors: int, before: list[int], expected: bool) -> None:
    assert is_spike(visitors, before) is expected


def test_on_the_minute_and_whatever_fails_the_next_one_is_looked_at(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.now = NOW + timedelta(seconds=42)
    slept: list[float] = []
    looked: list[int] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise asyncio.CancelledError

    async def step(_: Evaluator) -> None:
        looked.append(1)
        raise RuntimeError("a defect")

    monkeypatch.setattr(Evaluator, "step", step)
    meter = Meter(watch.things, watch.services.analytics)
    evaluator = Evaluator(watch.things, meter, Post(watch.post, watch.courier), (), lambda: watch.now, sleep)
    with pytest.raises(asyncio.CancelledError):
        watch.runner.run(evaluator.run())
    assert (slept, len(looked)) == ([18.05] * 3, 2)
