"""What may be kept: requests into bodies, and every rule a body must obey, whichever surface it came by."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from math import isfinite
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from schemas.addresses import may_be_public
from schemas.filters import AllOf, AnyOf, Condition, Filter, Operator, filter_of, to_json
from schemas.flags import Flag, Rule
from schemas.funnels import MAX_STEPS, MAX_WINDOW
from schemas.kept import (
    SHARE_PERIODS,
    WEBHOOK_EVENTS,
    WIDGET_QUESTIONS,
    Alert,
    Annotation,
    Body,
    Dashboard,
    Export,
    Funnel,
    Goal,
    Segment,
    Share,
    Source,
    Step,
    T,
    Webhook,
    Widget,
    alert_target,
)
from schemas.questions import InvalidQuestion

LONGEST_NAME: Final = 100
_LONGEST_TEXT: Final = 2000
_LONGEST_URL: Final = 2048
_LARGEST_JSON: Final = 16 * 1024
_LONGEST_DURATION: Final = 24 * 3600
_GRID: Final = 1000
_MOST_PARTS: Final = 50
_FLAG_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

_FIELD = re.compile(r"\$\.(\w+)")
_MISSING = re.compile(r"missing required field `(\w+)`$")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")

# The sets of texts that each provider's credentials may be made of; other providers bring what they like.
_CREDENTIALS: Final[dict[str, tuple[frozenset[str], ...]]] = {
    "google_analytics": (frozenset({"measurementId", "apiSecret"}), frozenset({"propertyId", "serviceAccount"})),
    "mixpanel": (
        frozenset({"apiSecret"}),
        frozenset({"projectToken"}),
        frozenset({"username", "secret", "projectId"}),
    ),
    "amplitude": (frozenset({"apiKey", "secretKey"}),),
}
_SERVICE_ACCOUNT: Final = ("client_email", "private_key")


class InvalidKept(ValueError):
    """A thing that cannot be kept; the message is the native one, `field` lets a dialect find its own."""

    def __init__(self, field: str, *, is_missing: bool = False, value: object = None) -> None:
        super().__init__(f"{'Missing required' if is_missing else 'Invalid'} field: {field}")
        self.field = field
        self.is_missing = is_missing
        self.value = value


class UnknownReference(InvalidKept):
    """A thing names another that the project does not have."""

    def __init__(self, field: str, kind: str, thing_id: str) -> None:
        super().__init__(field, value=thing_id)
        self.kind = kind
        self.thing_id = thing_id


def body_of(kind: type[T], values: Mapping[str, Any]) -> T:
    """A new thing from what a caller sent; what no caller may say is passed over. Raises InvalidKept."""
    for name in kind.required:
        if values.get(name) in (None, ""):
            raise InvalidKept(name, is_missing=True)
    return checked(_convert(kind, _writable(kind, values)))


def changed_body(old: T, values: Mapping[str, Any]) -> T:
    """The same thing with the named fields replaced. Raises InvalidKept."""
    kind = type(old)
    changes = _writable(kind, values)
    for name in kind.required:
        if name in changes and changes[name] in (None, ""):
            raise InvalidKept(name, is_missing=True)
    return checked(_convert(kind, {**msgspec.to_builtins(old), **changes}))


def checked(body: T) -> T:
    """The body in the form it is kept in. Raises InvalidKept."""
    check: Callable[[T], T] | None = _CHECKS.get(type(body))
    return body if check is None else check(body)


def check_credentials(provider: Any, credentials: Any) -> bytes:
    """What is sealed of a source's credentials; raises InvalidKept, and never repeats them."""
    if credentials in (None, ""):
        raise InvalidKept("credentials", is_missing=True)
    if not isinstance(credentials, dict) or not credentials:
        raise InvalidKept("credentials")
    wanted = _CREDENTIALS.get(provider) if isinstance(provider, str) else None
    if wanted is not None and not any(names <= credentials.keys() and _are_texts(credentials) for names in wanted):
        raise InvalidKept("credentials")
    encoded = msgspec.json.encode(credentials)
    if len(encoded) > _LARGEST_JSON:
        raise InvalidKept("credentials")
    return encoded


def check_address(url: str, *, allows_private: bool = False) -> None:
    """An https address out there; names are judged again when they are resolved. Raises InvalidKept."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InvalidKept("url", value=url) from error
    is_plain = url.isprintable() and " " not in url and len(url) <= _LONGEST_URL and parts.username is None
    if not (is_plain and parts.scheme == "https" and host):
        raise InvalidKept("url", value=url)
    if not allows_private and (port not in (None, 443) or not may_be_public(host)):
        raise InvalidKept("url", value=url)


def patterns(body: Body) -> Iterator[tuple[str, str]]:
    """Every regular expression in it, with the field it stands in; the engine has yet to take them."""
    if isinstance(body, Goal):
        if body.type == "pageview" and body.match_type == "regex":
            yield "path", body.path or ""
    elif isinstance(body, Funnel):
        for step in body.steps:
            if step.type == "pageview" and step.match_type == "regex":
                yield "steps", step.path or ""
            yield from (("steps", pattern) for pattern in _filter_patterns(step.filters))
    filters = getattr(body, "filters", None)
    yield from (("filters", pattern) for pattern in _filter_patterns(filters))


def references(body: Body) -> Iterator[tuple[str, str, str]]:
    """The field, kind and id of everything else it names."""
    if isinstance(body, Funnel):
        yield from (("steps", "goal", step.goal_id) for step in body.steps if step.goal_id is not None)
    if isinstance(body, Alert) and (target := alert_target(body.metric)) is not None:
        yield "metric", *target


def _writable(kind: type[Body], values: Mapping[str, Any]) -> dict[str, Any]:
    names = set(kind.__struct_encode_fields__) - kind.state
    return {name: value for name, value in values.items() if name in names}


def _convert(kind: type[T], values: Mapping[str, Any]) -> T:
    if kind is Funnel:
        values = {**values, "steps": _steps(values.get("steps"))}
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        if (missing := _MISSING.search(str(error))) is not None:
            raise InvalidKept(missing[1], is_missing=True) from error
        found = _FIELD.search(str(error))
        name = found[1] if found else "body"
        raise InvalidKept(name, value=values.get(name)) from error


def _steps(steps: Any) -> Any:
    """Steps in full: whoever names a goal, a page or an event need not say which of them it is."""
    if not isinstance(steps, list | tuple):
        return steps
    found = []
    for step in steps:
        if isinstance(step, dict):
            said = "goal" if step.get("goalId") else "pageview" if step.get("path") else "event"
            step = {"type": said, **step}
            if "match" in step:
                step.setdefault("matchType", step["match"])
        found.append(step)
    return found


def _goal(goal: Goal) -> Goal:
    _named(goal.name)
    if goal.type == "duration":
        _demand(goal.duration_seconds, "durationSeconds")
        if not 1 <= (goal.duration_seconds or 0) <= _LONGEST_DURATION:
            raise InvalidKept("durationSeconds")
        if goal.filters:
            raise InvalidKept("filters")
    else:
        _event_or_page(goal)
    if not isfinite(goal.value):
        raise InvalidKept("value")
    return msgspec.structs.replace(goal, filters=_filters(goal.filters))


def _event_or_page(thing: Goal | Step) -> None:
    name = "path" if thing.type == "pageview" else "event"
    value = thing.path if thing.type == "pageview" else thing.event
    _demand(value, name)
    _text(value or "", name, _LONGEST_URL if name == "path" else 256)
    for other, text in (("eventCategory", thing.event_category), ("eventLabel", thing.event_label)):
        _text(text or "", other, 256)


def _funnel(funnel: Funnel) -> Funnel:
    _named(funnel.name)
    if not 2 <= len(funnel.steps) <= MAX_STEPS:
        raise InvalidKept("steps", value=len(funnel.steps))
    if not 1 <= funnel.window_seconds <= MAX_WINDOW.total_seconds():
        raise InvalidKept("windowSeconds")
    return msgspec.structs.replace(funnel, steps=tuple(map(_step, funnel.steps)))


def _step(step: Step) -> Step:
    try:
        if step.type == "goal":
            _demand(step.goal_id, "goalId")
        else:
            _event_or_page(step)
        _text(step.name, "name", LONGEST_NAME)
        filters = _filters(step.filters)
    except InvalidKept as error:
        raise InvalidKept("steps", value=error.field) from error
    name = step.name or step.path or step.event or step.goal_id or ""
    goal_id = step.goal_id if step.type == "goal" else None
    return msgspec.structs.replace(step, name=name[:LONGEST_NAME], goal_id=goal_id, filters=filters)


def _segment(segment: Segment) -> Segment:
    _named(segment.name)
    filters = _filters(segment.filters)
    if not filters:
        raise InvalidKept("filters")
    return msgspec.structs.replace(segment, filters=filters)


def _alert(alert: Alert) -> Alert:
    _named(alert.name)
    try:
        alert_target(alert.metric)
    except ValueError as error:
        raise InvalidKept("metric", value=alert.metric) from error
    if alert.type != "anomaly":
        _demand(alert.threshold, "threshold")
        _demand(alert.operator, "operator")
        if not isfinite(alert.threshold or 0):
            raise InvalidKept("threshold")
    if alert.type == "comparison":
        _demand(alert.compare_with, "compareWith")
        if alert.operator not in (">", "<"):
            raise InvalidKept("operator")
    if alert.cooldown_seconds is not None and not 0 <= alert.cooldown_seconds <= MAX_WINDOW.total_seconds():
        raise InvalidKept("cooldownSeconds")
    return msgspec.structs.replace(alert, channels=tuple(dict.fromkeys(alert.channels)))


def _webhook(webhook: Webhook) -> Webhook:
    # A port or a network of one's own is for whoever runs the service to allow, so it is judged elsewhere.
    check_address(webhook.url, allows_private=True)
    _text(webhook.description, "description", _LONGEST_TEXT)
    if not webhook.events:
        raise InvalidKept("events")
    for event in webhook.events:
        if event not in WEBHOOK_EVENTS[webhook.format]:
            raise InvalidKept("events", value=event)
    return msgspec.structs.replace(webhook, events=tuple(dict.fromkeys(webhook.events)))


def _annotation(annotation: Annotation) -> Annotation:
    try:
        is_day = _DAY.fullmatch(annotation.date) is not None and date.fromisoformat(annotation.date) is not None
    except ValueError:
        is_day = False
    if not is_day:
        raise InvalidKept("date", value=annotation.date)
    _text(annotation.title, "title", LONGEST_NAME)
    _text(annotation.description, "description", _LONGEST_TEXT)
    for name, text in (("color", annotation.color), ("icon", annotation.icon)):
        _text(text, name, 32)
    return annotation


def _export(export: Export) -> Export:
    for name, instant in (("from", export.from_), ("to", export.to)):
        if instant is not None and instant.tzinfo is None:
            raise InvalidKept(name)
    if export.format == "parquet" and export.type not in ("events", "sessions"):
        raise InvalidKept("format")
    if export.from_ is not None and export.to is not None and export.from_ > export.to:
        raise InvalidKept("from")
    return msgspec.structs.replace(export, filters=_filters(export.filters))


def _dashboard(dashboard: Dashboard) -> Dashboard:
    _named(dashboard.name)
    return dashboard


def _widget(widget: Widget) -> Widget:
    _named(widget.title, "title")
    asked = widget.query.get("question", WIDGET_QUESTIONS[widget.type])
    if (
        asked not in (*WIDGET_QUESTIONS.values(), "series", "goal")
        or len(msgspec.json.encode(widget.query)) > _LARGEST_JSON
    ):
        raise InvalidKept("query")
    place = widget.position
    if not all(0 <= value <= _GRID for value in (place.x, place.y)) or not all(
        1 <= value <= _GRID for value in (place.w, place.h)
    ):
        raise InvalidKept("position")
    return widget


def _source(source: Source) -> Source:
    _named(source.name)
    _named(source.provider, "provider")
    return source


def _share(share: Share) -> Share:
    if not share.periods or not set(share.periods) <= set(SHARE_PERIODS):
        raise InvalidKept("periods")
    if share.expires_at is not None and share.expires_at.tzinfo is None:
        raise InvalidKept("expiresAt")
    return msgspec.structs.replace(share, periods=tuple(dict.fromkeys(share.periods)))


def _flag(flag: Flag) -> Flag:
    if not _FLAG_KEY.fullmatch(flag.key):
        raise InvalidKept("key", value=flag.key[:LONGEST_NAME])
    _text(flag.name, "name", LONGEST_NAME)
    keys = [variant.key for variant in flag.variants]
    weights = [variant.weight for variant in flag.variants]
    is_fair = all(isfinite(weight) and 0 <= weight <= 1e6 for weight in weights) and (not weights or sum(weights) > 0)
    if len(keys) > _MOST_PARTS or len(set(keys)) < len(keys) or not is_fair or not all(map(_FLAG_KEY.fullmatch, keys)):
        raise InvalidKept("variants")
    if len(flag.rules) > _MOST_PARTS or len(msgspec.json.encode(flag)) > _LARGEST_JSON:
        raise InvalidKept("rules")
    return msgspec.structs.replace(flag, rules=tuple(_rule(rule, keys) for rule in flag.rules))


def _rule(rule: Rule, variants: list[str]) -> Rule:
    if not 0 <= rule.rollout <= 100 or (rule.variant is not None and rule.variant not in variants):
        raise InvalidKept("rules")
    try:
        filters = _filters(rule.filters)
    except InvalidKept as error:
        raise InvalidKept("rules", value=error.field) from error
    if any(True for _ in _filter_patterns(filters)):  # evaluated while somebody waits: no pattern may take its time
        raise InvalidKept("rules")
    return msgspec.structs.replace(rule, filters=filters)


def _named(name: str, field: str = "name") -> None:
    if not name.strip():
        raise InvalidKept(field, is_missing=True)
    _text(name, field, LONGEST_NAME)


def _text(text: str, field: str, longest: int) -> None:
    if len(text) > longest or not text.replace("\n", " ").replace("\t", " ").isprintable():
        raise InvalidKept(field, value=text[:LONGEST_NAME])


def _demand(value: object, field: str) -> None:
    if value is None or value == "":
        raise InvalidKept(field, is_missing=True)


def _filters(filters: Any) -> Any:
    """As a list of conditions, all of which hold; None where there are none."""
    if filters is None:
        return None
    try:
        wanted = filter_of(filters)
    except InvalidQuestion as error:
        raise InvalidKept("filters") from error
    listed = to_json(wanted)
    return (listed["and"] or None) if isinstance(wanted, AllOf) else [listed]


def _filter_patterns(filters: Any) -> Iterator[str]:
    return _patterns_of(filter_of(filters)) if filters is not None else iter(())


def _patterns_of(wanted: Filter) -> Iterator[str]:
    match wanted:
        case Condition(op=Operator.MATCHES, value=str(pattern)):
            yield pattern
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from _patterns_of(part)


def _are_texts(credentials: Mapping[str, Any]) -> bool:
    """Whether all are texts, but for the account of a service, which is an object of Google's making."""
    account = credentials.get("serviceAccount")
    if isinstance(account, dict) and not all(isinstance(account.get(name), str) for name in _SERVICE_ACCOUNT):
        return False
    rest = [value for name, value in credentials.items() if name != "serviceAccount" or not isinstance(account, dict)]
    return all(isinstance(value, str) and value.strip() for value in rest)


_CHECKS: Final[dict[type[Body], Callable[[Any], Any]]] = {
    Goal: _goal,
    Funnel: _funnel,
    Segment: _segment,
    Alert: _alert,
    Webhook: _webhook,
    Annotation: _annotation,
    Export: _export,
    Dashboard: _dashboard,
    Widget: _widget,
    Source: _source,
    Share: _share,
    Flag: _flag,
}
