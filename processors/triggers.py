"""Which webhook is told what of which event. Pure: things that projects keep in, patterns out, matches to notices."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.conversions import reached
from schemas.filters import Filter, equals
from schemas.instants import format_instant, from_millis
from schemas.kept import Goal, Webhook, WebhookFormat
from schemas.notices import Notice, goal_data, notice_id
from storage.meta.kept import Kept
from storage.query.matching import Match, Pattern

_GOAL_EVENTS = ("goal", "goal.completed")


@dataclass(frozen=True, slots=True)
class Watch:
    """One webhook that waits for one kind of event, or for one goal."""

    webhook_id: str
    form: WebhookFormat
    event: str
    pattern: Pattern
    goal: Kept[Goal] | None = None


def watches_of(webhooks: Iterable[Kept[Webhook]], goals: Iterable[Kept[Goal]]) -> list[Watch]:
    """What the active webhooks wait for in the stream. Goals that take time are reached by sessions, not by events."""
    by_project: dict[int, list[tuple[Kept[Goal], Filter]]] = {}
    for goal in goals:
        if (wanted := reached(goal.body)) is not None:
            by_project.setdefault(goal.project_id, []).append((goal, wanted))
    found: list[Watch] = []
    for webhook in webhooks:
        if webhook.body.active:
            found += _watches(webhook, by_project.get(webhook.project_id, []))
    return found


def notices_of(chain: str, watches: Sequence[Watch], matches: Mapping[Pattern, Sequence[Match]]) -> list[Notice]:
    """One notice for each match of each watch, in the order of the log."""
    found = [(match, watch) for watch in watches for match in matches.get(watch.pattern, ())]
    found.sort(key=lambda pair: (pair[0].partition, pair[0].offset, pair[0].index))
    return [_notice(chain, watch, match) for match, watch in found]


def _watches(webhook: Kept[Webhook], goals: Sequence[tuple[Kept[Goal], Filter]]) -> list[Watch]:
    body, project = webhook.body, webhook.project_id
    since = body.active_since or webhook.created_at
    found: list[Watch] = []
    for event in body.events:
        if event in ("pageview", "event"):
            pattern = Pattern(project, equals("isPageview", event == "pageview"), since)
            found.append(Watch(webhook.id, body.format, event, pattern))
        elif event in _GOAL_EVENTS:
            for goal, wanted in goals:
                # A goal is reached from when it was made; before, nobody would have called it one.
                pattern = Pattern(project, wanted, max(since, goal.created_at))
                found.append(Watch(webhook.id, body.format, event, pattern, goal))
    return found


def _notice(chain: str, watch: Watch, match: Match) -> Notice:
    goal_id = "" if watch.goal is None else watch.goal.id
    place = (chain, match.partition, match.offset, match.index)
    return Notice(
        id=notice_id(*place, watch.webhook_id, watch.event, goal_id),
        webhook_id=watch.webhook_id,
        project_id=watch.pattern.project,
        event=watch.event,
        at=_received(match),
        data=_data(watch, match),
    )


def _received(match: Match) -> datetime:
    return from_millis(match.received)


def _data(watch: Watch, match: Match) -> dict[str, Any]:
    goal = watch.goal
    if goal is None:
        data = _of_event(watch, match)
    else:
        data = goal_data(
            watch.form,
            goal.id,
            goal.body,
            path=match.path,
            value=match.value,
            url=match.url,
            source=match.source,
            country=match.country,
        )
    if watch.form == "native":
        data |= {"eventId": match.event_id, "occurredAt": format_instant(match.timestamp)}
    return data


def _of_event(watch: Watch, match: Match) -> dict[str, Any]:
    if watch.event == "pageview":
        return {name: getattr(match, name) for name in ("path", "referrer", "country", "device", "browser")}
    return {
        "action": match.event,
        "category": match.category,
        "label": match.label,
        "value": match.value,
        "path": match.path,
    }
