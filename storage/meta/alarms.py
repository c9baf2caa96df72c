"""An alert that goes off: its history, its silence afterwards and its webhooks, in one transaction."""

from datetime import datetime, timedelta

from msgspec.structs import replace

from schemas.kept import Alert, Trigger
from schemas.notices import Notice, notice_id
from storage.errors import NotFound
from storage.meta.kept import Kept, KeptRepository
from storage.meta.posting import put_notices, waiting_hooks

EVENT = "alert"


def go_off(
    things: KeptRepository, alert: Kept[Alert], figure: float, others: tuple[str, ...], now: datetime
) -> Kept[Trigger] | None:
    """Keep that an alert went off and put it into the outbox of the webhooks that wait for alerts.

    `others` are the further channels that are told. None where it is gone, switched off, or was first taken care of
    by somebody else.
    """
    with things.metadata.write() as connection:
        try:
            held = things.find(connection, Alert, alert.project_id, alert.id)
        except NotFound:
            return None
        body = held.body
        last = body.last_triggered_at
        if not body.enabled or (last is not None and now < last + timedelta(seconds=body.cooldown)):
            return None
        hooks = waiting_hooks(connection, alert.project_id, EVENT) if "webhook" in body.channels else []
        trigger = Trigger(
            metric=body.metric,
            value=figure,
            threshold=body.threshold,
            condition=body.condition,
            notifications_sent=(*others, *(("webhook",) if hooks else ())),
        )
        made = things.insert(connection, alert.project_id, trigger, None, now, parent_id=alert.id)
        changed = replace(body, last_triggered_at=now, trigger_count=body.trigger_count + 1)
        things.overwrite(connection, alert.id, changed)
        put_notices(connection, [_notice(hook, held, made) for hook in hooks])
        return made


def _notice(hook: str, alert: Kept[Alert], trigger: Kept[Trigger]) -> Notice:
    data = {
        "alertId": alert.id,
        "alertName": alert.body.name,
        "condition": trigger.body.condition,
        "metric": trigger.body.metric,
        "currentValue": trigger.body.value,
        "threshold": trigger.body.threshold,
        "operator": alert.body.operator,
    }
    return Notice(notice_id(trigger.id, hook), hook, alert.project_id, EVENT, trigger.created_at, data)
