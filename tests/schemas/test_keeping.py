"""What may be kept, and the words for what may not."""

from typing import Any

import pytest

from schemas.keeping import (
    InvalidKept,
    body_of,
    changed_body,
    check_address,
    check_credentials,
    patterns,
    references,
)
from schemas.kept import (
    Alert,
    Annotation,
    Body,
    Dashboard,
    Export,
    Funnel,
    Goal,
    Position,
    Segment,
    Share,
    Source,
    Step,
    Webhook,
    Widget,
)

FILTERS = [{"key": "country", "op": "eq", "value": "DE"}]
GOAL = {"name": "G", "type": "event", "event": "signup"}
FUNNEL = {"name": "F", "steps": [{"path": "/a"}, {"event": "b"}]}
ALERT = {"name": "A", "type": "threshold", "metric": "pageviews", "operator": ">", "threshold": 5}
WEBHOOK = {"url": "https://hooks.example.org/x", "events": ["goal"]}
WIDGET = {"title": "W", "type": "number"}
SOURCE = {"provider": "mixpanel", "name": "M", "credentials": {"apiSecret": "s"}}


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (Goal, {"type": "event"}, "Missing required field: name"),
        (Goal, {"name": "", "type": "event"}, "Missing required field: name"),
        (Goal, {"name": "   ", "type": "event", "event": "a"}, "Missing required field: name"),
        (Goal, {"name": "x" * 101, "type": "event", "event": "a"}, "Invalid field: name"),
        (Goal, {"name": 5, "type": "event", "event": "a"}, "Invalid field: name"),
        (Goal, {"name": "a\x00b", "type": "event", "event": "a"}, "Invalid field: name"),
        (Goal, {"name": "G"}, "Missing required field: type"),
        (Goal, {"name": "G", "type": "visit"}, "Invalid field: type"),
        (Goal, {"name": "G", "type": "pageview"}, "Missing required field: path"),
        (Goal, {"name": "G", "type": "event"}, "Missing required field: event"),
        (Goal, {"name": "G", "type": "duration"}, "Missing required field: durationSeconds"),
        (Goal, {"name": "G", "type": "duration", "durationSeconds": 0}, "Invalid field: durationSeconds"),
        (Goal, {"name": "G", "type": "duration", "durationSeconds": 9, "filters": FILTERS}, "Invalid field: filters"),
        (Goal, {"name": "G", "type": "pageview", "path": "/", "matchType": "glob"}, "Invalid field: matchType"),
        (Goal, {**GOAL, "value": "5"}, "Invalid field: value"),
        (Goal, {**GOAL, "filters": "country"}, "Invalid field: filters"),
        (Goal, {**GOAL, "filters": [{"key": "a", "op": "like", "value": "b"}]}, "Invalid field: filters"),
        (Funnel, {"name": "F"}, "Missing required field: steps"),
        (Funnel, {"name": "F", "steps": []}, "Invalid field: steps"),
        (Funnel, {"name": "F", "steps": [{"path": "/a"}]}, "Invalid field: steps"),
        (Funnel, {"name": "F", "steps": [{"path": "/a"}] * 11}, "Invalid field: steps"),
        (Funnel, {"name": "F", "steps": [{"path": "/a"}, {}]}, "Invalid field: steps"),
        (Funnel, {"name": "F", "steps": [{"path": "/a"}, 5]}, "Invalid field: steps"),
        (Funnel, {"name": "F", "steps": "ab"}, "Invalid field: steps"),
        (Funnel, {"name": "F", "steps": [{"type": "goal"}, {"event": "b"}]}, "Invalid field: steps"),
        (Funnel, {**FUNNEL, "windowSeconds": 0}, "Invalid field: windowSeconds"),
        (Funnel, {**FUNNEL, "windowSeconds": 10**9}, "Invalid field: windowSeconds"),
        (Segment, {"name": "S"}, "Missing required field: filters"),
        (Segment, {"name": "S", "filters": []}, "Invalid field: filters"),
        (Alert, {"name": "A", "type": "threshold"}, "Missing required field: metric"),
        (Alert, {**ALERT, "metric": "visits"}, "Invalid field: metric"),
        (Alert, {**ALERT, "metric": "goal.goal_1.visits"}, "Invalid field: metric"),
        (Alert, {**ALERT, "metric": "goal..completions"}, "Invalid field: metric"),
        (Alert, {**ALERT, "threshold": None}, "Missing required field: threshold"),
        (Alert, {**ALERT, "operator": None}, "Missing required field: operator"),
        (Alert, {**ALERT, "operator": "="}, "Invalid field: operator"),
        (Alert, {**ALERT, "type": "comparison"}, "Missing required field: compareWith"),
        (
            Alert,
            {**ALERT, "type": "comparison", "compareWith": "previous_week", "operator": ">="},
            "Invalid field: operator",
        ),
        (Alert, {**ALERT, "channels": ["pigeon"]}, "Invalid field: channels"),
        (Alert, {**ALERT, "cooldownSeconds": -1}, "Invalid field: cooldownSeconds"),
        (Webhook, {"events": ["goal"]}, "Missing required field: url"),
        (Webhook, {**WEBHOOK, "url": "http://hooks.example.org/"}, "Invalid field: url"),
        (Webhook, {**WEBHOOK, "url": "https://"}, "Invalid field: url"),
        (Webhook, {**WEBHOOK, "url": "https://a:b@hooks.example.org/"}, "Invalid field: url"),
        (Webhook, {**WEBHOOK, "url": "https://[::1"}, "Invalid field: url"),
        (Webhook, {**WEBHOOK, "events": []}, "Invalid field: events"),
        (Webhook, {**WEBHOOK, "events": ["click"]}, "Invalid field: events"),
        (Webhook, {**WEBHOOK, "format": "ovyxa"}, "Invalid field: events"),
        (Annotation, {}, "Missing required field: date"),
        (Annotation, {"date": "2026-02-30"}, "Invalid field: date"),
        (Annotation, {"date": "20260201"}, "Invalid field: date"),
        (Export, {"type": "people"}, "Invalid field: type"),
        (Export, {"type": "events", "format": "xls"}, "Invalid field: format"),
        (Dashboard, {}, "Missing required field: name"),
        (Widget, {"title": "W"}, "Missing required field: type"),
        (Widget, {**WIDGET, "query": {"question": "sql"}}, "Invalid field: query"),
        (Widget, {**WIDGET, "query": {"a": "b" * 17_000}}, "Invalid field: query"),
        (Widget, {**WIDGET, "position": {"x": -1}}, "Invalid field: position"),
        (Widget, {**WIDGET, "position": {"w": 0}}, "Invalid field: position"),
        (Source, {"provider": "p", "name": "n"}, "Missing required field: credentials"),
        (Source, {"name": "n", "credentials": {}}, "Missing required field: provider"),
        (Share, {"periods": []}, "Invalid field: periods"),
        (Share, {"periods": ["8d"]}, "Invalid field: periods"),
        (Share, {"expiresAt": "2027-01-01"}, "Invalid field: expiresAt"),
        (Share, {"expiresAt": "2027-01-01T00:00:00"}, "Invalid field: expiresAt"),
    ],
)
def test_what_cannot_be_kept(kind: type[Body], values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidKept) as wrong:
        body_of(kind, values)
    assert str(wrong.value) == message
    assert message.endswith(f": {wrong.value.field}")
    assert wrong.value.is_missing is message.startswith("Missing")


def test_what_only_the_service_says_is_passed_over() -> None:
    said = {**ALERT, "triggerCount": 7, "lastTriggeredAt": "2026-01-01T00:00:00Z", "id": "alert_1", "other": 1}
    assert body_of(Alert, said) == body_of(Alert, ALERT)
    assert body_of(Source, {**SOURCE, "status": "active", "keyId": "key_1"}) == Source(provider="mixpanel", name="M")


def test_step_says_by_itself_what_it_is() -> None:
    steps = [
        {"path": "^/a", "match": "regex"},
        {"event": "b", "filters": FILTERS},
        {"goalId": "goal_1", "name": "Bought"},
    ]
    assert body_of(Funnel, {"name": "F", "steps": steps}).steps == (
        Step(type="pageview", name="^/a", path="^/a", match_type="regex"),
        Step(type="event", name="b", event="b", filters=FILTERS),
        Step(type="goal", name="Bought", goal_id="goal_1"),
    )


def test_defaults() -> None:
    assert body_of(Goal, GOAL) == Goal(name="G", type="event", event="signup", match_type="exact", value=0)
    assert body_of(Annotation, {"date": "2026-02-01"}) == Annotation(
        date="2026-02-01", title="Event", description="", color="#0d6efd", icon="star"
    )
    assert body_of(Widget, {**WIDGET, "position": {"x": 2}}).position == Position(2, 0, 3, 2)


@pytest.mark.parametrize(("kind", "seconds"), [("threshold", 3600), ("comparison", 86400), ("anomaly", 21600)])
def test_cool_down_by_type(kind: str, seconds: int) -> None:
    alert = body_of(Alert, {**ALERT, "type": kind, "compareWith": "previous_week"})
    assert alert.cooldown == seconds
    assert body_of(Alert, {**ALERT, "cooldownSeconds": 5}).cooldown == 5


@pytest.mark.parametrize(
    ("values", "condition"),
    [
        (ALERT, "pageviews > 5"),
        (
            {**ALERT, "type": "comparison", "compareWith": "previous_week", "threshold": 12.5},
            "pageviews > 12.5% vs previous_week",
        ),
        ({"name": "A", "type": "anomaly", "metric": "sessions"}, "sessions anomaly (medium)"),
    ],
)
def test_condition_in_one_line(values: dict[str, Any], condition: str) -> None:
    assert body_of(Alert, values).condition == condition


def test_filters_are_kept_as_a_list_of_conditions() -> None:
    for filters in (FILTERS, {"and": FILTERS}, FILTERS[0]):
        assert body_of(Segment, {"name": "S", "filters": filters}).filters == FILTERS
    either = {"or": FILTERS * 2}
    assert body_of(Segment, {"name": "S", "filters": either}).filters == [either]
    assert body_of(Goal, {**GOAL, "filters": []}).filters is None


def test_change_replaces_what_it_names() -> None:
    goal = body_of(Goal, {**GOAL, "value": 3})
    assert changed_body(goal, {"name": "H", "id": "goal_9"}) == Goal(name="H", type="event", event="signup", value=3)
    assert changed_body(goal, {}) == goal
    with pytest.raises(InvalidKept, match="Missing required field: name"):
        changed_body(goal, {"name": None})
    with pytest.raises(InvalidKept, match="Missing required field: path"):
        changed_body(goal, {"type": "pageview"})


def test_change_keeps_what_the_service_noted() -> None:
    alert = Alert(name="A", type="threshold", metric="pageviews", operator=">", threshold=1, trigger_count=4)
    assert changed_body(alert, {"enabled": False, "triggerCount": 0}).trigger_count == 4


def test_patterns_of_everything() -> None:
    matching = [{"or": [{"key": "path", "op": "matches", "value": "a+"}]}]
    goal = body_of(Goal, {"name": "G", "type": "pageview", "path": "^/x", "matchType": "regex", "filters": matching})
    assert list(patterns(goal)) == [("path", "^/x"), ("filters", "a+")]
    steps = [{"path": "^/y", "matchType": "regex"}, {"event": "b", "filters": matching}]
    assert list(patterns(body_of(Funnel, {"name": "F", "steps": steps}))) == [("steps", "^/y"), ("steps", "a+")]
    assert list(patterns(body_of(Segment, {"name": "S", "filters": matching}))) == [("filters", "a+")]
    assert list(patterns(body_of(Goal, {"name": "G", "type": "pageview", "path": "(["}))) == []


def test_references() -> None:
    steps = [{"goalId": "goal_1"}, {"event": "b"}]
    assert list(references(body_of(Funnel, {"name": "F", "steps": steps}))) == [("steps", "goal", "goal_1")]
    alert = body_of(Alert, {**ALERT, "metric": "funnel.funnel_1.conversionRate"})
    assert list(references(alert)) == [("metric", "funnel", "funnel_1")]
    assert list(references(body_of(Alert, ALERT))) == []


@pytest.mark.parametrize(
    ("provider", "credentials"),
    [
        ("google_analytics", {"measurementId": "G-1", "apiSecret": "s"}),
        ("google_analytics", {"propertyId": "1", "serviceAccount": {"client_email": "a@b", "private_key": "k"}}),
        ("google_analytics", {"propertyId": "1", "serviceAccount": '{"client_email":"a"}'}),
        ("mixpanel", {"apiSecret": "s"}),
        ("mixpanel", {"username": "u", "secret": "s", "projectId": "1"}),
        ("amplitude", {"apiKey": "a", "secretKey": "b"}),
        ("whatever", {"anything": 5}),
    ],
)
def test_credentials(provider: str, credentials: dict[str, Any]) -> None:
    assert check_credentials(provider, credentials)


@pytest.mark.parametrize(
    ("provider", "credentials"),
    [
        ("google_analytics", {"measurementId": "G-1"}),
        ("google_analytics", {"propertyId": "1", "serviceAccount": {"client_email": "a@b"}}),
        ("mixpanel", {"username": "u", "secret": "s"}),
        ("mixpanel", {"apiSecret": " "}),
        ("mixpanel", {"apiSecret": 5}),
        ("amplitude", {"apiKey": "a"}),
        ("whatever", {}),
        ("whatever", "secret"),
        ("whatever", {"anything": "x" * 20_000}),
    ],
)
def test_credentials_that_do_not_fit_are_not_repeated(provider: str, credentials: Any) -> None:
    with pytest.raises(InvalidKept) as wrong:
        check_credentials(provider, credentials)
    assert str(wrong.value) == "Invalid field: credentials"
    assert wrong.value.value is None


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "https://localhost/", "https://hooks.example.org:8443/", "https://[::1]/"]
)
def test_private_addresses_and_ports_are_for_development(url: str) -> None:
    check_address(url, allows_private=True)
    with pytest.raises(InvalidKept, match="Invalid field: url"):
        check_address(url)
