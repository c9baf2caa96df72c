"""Messages into the outbox, in the transaction of what they tell of."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from schemas.kept import Webhook
from schemas.notices import Notice
from storage.meta.models import kept, outbox

# A receiver that takes less than comes loses what is beyond: the outbox is no second lake.
MOST_WAITING: Final = 10_000


def waiting_hooks(connection: Connection, project_id: int, event: str) -> list[str]:
    """The ids of the active webhooks of a project that are told of this kind of event."""
    which = (kept.c.project_id == project_id) & (kept.c.kind == Webhook.kind) & kept.c.deleted_at.is_(None)
    rows = connection.execute(select(kept.c.id, kept.c.body).where(which).order_by(kept.c.number)).all()
    bodies = [(row.id, msgspec.json.decode(row.body, type=Webhook)) for row in rows]
    return [thing_id for thing_id, body in bodies if body.active and event in body.events]


def put_notices(connection: Connection, notices: Iterable[Notice]) -> int:
    """Put messages in, each once; how many found no room."""
    by_webhook: dict[str, list[Notice]] = {}
    for notice in notices:
        by_webhook.setdefault(notice.webhook_id, []).append(notice)
    dropped = 0
    for webhook_id, mine in by_webhook.items():
        waiting = connection.execute(
            select(func.count()).select_from(outbox).where(outbox.c.webhook_id == webhook_id)
        ).scalar_one()
        fitting = mine[: max(0, MOST_WAITING - waiting)]
        dropped += len(mine) - len(fitting)
        if fitting:
            connection.execute(insert_into(connection, outbox).on_conflict_do_nothing(), list(map(_row, fitting)))
    return dropped


def insert_into(connection: Connection, table: Any) -> Any:
    """Both databases know ON CONFLICT, each in a dialect of its own."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def _row(notice: Notice) -> dict[str, Any]:
    return {
        "id": notice.id,
        "webhook_id": notice.webhook_id,
        "project_id": notice.project_id,
        "event": notice.event,
        "at": notice.at,
        "data": msgspec.json.encode(notice.data).decode(),
        "attempts": 0,
        "due_at": notice.at,
    }
