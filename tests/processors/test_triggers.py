"""Which webhook is told what."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from processors.triggers import notices_of, watches_of
from schemas.conversions import reached
from schemas.instants import to_millis
from schemas.kept import Body, Goal, Webhook
from schemas.notices import Notice
from schemas.rows import Row
from storage.lake.columns import rows_table
from storage.meta.kept import Kept
from storage.query.matching import Pattern, matching
from tests.factories import CHAIN, event_row

MADE = datetime(2026, 2, 1, tzinfo=UTC)
LATER = MADE + timedelta(hours=1)
SIGNUP = Goal(name="Signed up", type="event", event="signup", event_category="account", value=2.5)
PRICES = Goal(name="Prices", type="pageview", path="^/pri(c)es", match_type="regex")


def kept(thing_id: str, body: Body, project: int = 1, made: datetime = MADE) -> Kept[Any]:
    return Kept(thing_id, 1, project, None, body, None, None, made, made)


def hook(*events: str, **fields: Any) -> Webhook:
    return Webhook(url="https://hooks.example.org/", events=events, **fields)


def told(webhooks: list[Kept[Webhook]], goals: list[Kept[Goal]], rows: list[Row]) -> list[Notice]:
    watches = watches_of(webhooks, goals)
    found, wrong = matching([rows_table(rows)], list(dict.fromkeys(watch.pattern for watch in watches)))
    assert wrong == []
    return notices_of(CHAIN, watches, found)


def page(path: str, at: datetime = LATER, **fields: Any) -> Row:
    row = event_row(at, "ann", "page_view", **fields)
    web = {"referrer": "https://example.net/a", "country": "DE", "device": "Desktop", "browser": "Firefox"}
    return seen(row, path=path, **web)


def seen(row: Row, **web: str) -> Row:
    return replace(row, web=replace(row.web, **web))


def test_pageviews_events_and_goals_in_the_order_of_the_log() -> None:
    rows = [
        page("/prices", place=(0, 5, 1)),
        event_row(LATER, "ann", "signup", properties=b'{"category":"account","label":"x","value":7}', place=(0, 5, 0)),
        event_row(LATER, "ann", "signup", properties=b'{"category":"other"}', place=(0, 6, 0)),
    ]
    notices = told(
        [kept("wh_1", hook("pageview", "event", "goal", format="zta"))],
        [kept("goal_1", SIGNUP), kept("goal_2", PRICES)],
        rows,
    )
    signup = {"action": "signup", "category": "account", "label": "x", "value": 7.0, "path": None}
    assert [(notice.event, notice.data) for notice in notices] == [
        ("event", signup),
        ("goal", {"goalId": "goal_1", "goalName": "Signed up", "path": None, "value": 7.0}),
        (
            "pageview",
            {
                "path": "/prices",
                "referrer": "https://example.net/a",
                "country": "DE",
                "device": "Desktop",
                "browser": "Firefox",
            },
        ),
        ("goal", {"goalId": "goal_2", "goalName": "Prices", "path": "/prices", "value": 0.0}),
        ("event", signup | {"category": "other", "label": None, "value": None}),
    ]
    assert {(notice.webhook_id, notice.project_id, notice.at) for notice in notices} == {("wh_1", 1, LATER)}
    assert len({notice.id for notice in notices}) == 5


def test_ids_are_of_what_happened_and_whom_it_is_told() -> None:
    hooks = [kept("wh_1", hook("event")), kept("wh_2", hook("event"))]
    row = event_row(LATER, "ann", place=(1, 2, 3))
    first, second = told(hooks, [], [row]), told(hooks, [], [row])
    assert first == second
    assert first[0].id != first[1].id
    assert first[0].id != told(hooks, [], [event_row(LATER, "ann", place=(1, 2, 4))])[0].id


def test_bots_system_events_and_other_projects_are_not_told() -> None:
    rows = [
        event_row(LATER, "a", is_bot=True),
        event_row(LATER, "a", "$identify", is_system=True),
        event_row(LATER, "a", project=2),
        page("/", is_bot=True),
    ]
    assert told([kept("wh_1", hook("pageview", "event"))], [], rows) == []


def test_each_tenant_has_its_own_goals() -> None:
    rows = [
        event_row(LATER, "a", "signup", properties=b'{"category":"account"}', project=project) for project in (1, 2)
    ]
    hooks = [kept("wh_1", hook("goal")), kept("wh_2", hook("goal"), project=2)]
    assert [notice.webhook_id for notice in told(hooks, [kept("goal_1", SIGNUP, project=2)], rows)] == ["wh_2"]


@pytest.mark.parametrize("early", ["webhook", "switched on", "goal"])
def test_what_came_in_before_is_not_told(early: str) -> None:
    since = LATER + timedelta(milliseconds=1)
    made = {"webhook": since if early == "webhook" else MADE, "goal": since if early == "goal" else MADE}
    body = hook("goal", active_since=since if early == "switched on" else None)
    signup = {"properties": b'{"category":"account"}'}
    rows = [event_row(LATER, "a", "signup", **signup), event_row(since, "a", "signup", **signup)]  # type: ignore[arg-type]
    notices = told([kept("wh_1", body, made=made["webhook"])], [kept("goal_1", SIGNUP, made=made["goal"])], rows)
    assert [to_millis(notice.at) for notice in notices] == [to_millis(since)]


def test_switched_off_and_unasked_kinds() -> None:
    goals = [kept("goal_1", SIGNUP), kept("goal_3", Goal(name="Long", type="duration", duration_seconds=60))]
    assert watches_of([kept("wh_1", hook("event", active=False)), kept("wh_2", hook("alert"))], goals) == []
    assert [watch.goal for watch in watches_of([kept("wh_1", hook("goal"))], goals)] == [goals[0]]


def test_native_and_ovyxa_forms() -> None:
    row = event_row(LATER, "ann", "signup", properties=b'{"category":"account"}', event_id="evt_1")
    row = seen(row, country="FR")
    hooks = [kept("wh_1", hook("goal")), kept("wh_2", hook("goal.completed", format="ovyxa"))]
    native, ovyxa = told(hooks, [kept("goal_1", SIGNUP)], [row])
    assert native.data == {
        "goalId": "goal_1",
        "goalName": "Signed up",
        "path": None,
        "value": 2.5,
        "eventId": "evt_1",
        "occurredAt": "2026-02-01T01:00:00Z",
    }
    assert ovyxa.event == "goal.completed"
    assert ovyxa.data == {
        "goal_name": "Signed up",
        "visitor_count": 1,
        "url": None,
        "source": "Direct",
        "country": "FR",
    }


def test_one_goal_that_cannot_be_asked_stops_no_other() -> None:
    huge = Goal(name="Huge", type="event", event="a", filters=[{"key": "n", "op": "gt", "value": 10**400}])
    patterns = [Pattern(1, wanted, MADE) for goal in (huge, SIGNUP) if (wanted := reached(goal)) is not None]
    rows = rows_table([event_row(LATER, "ann", "signup", properties=b'{"category":"account"}')])
    found, wrong = matching([rows], patterns)
    assert wrong == patterns[:1]
    assert len(found[patterns[1]]) == 1
