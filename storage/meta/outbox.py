"""Messages that wait for their webhooks: put in once, taken out when it is known what became of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection, Row, select

from schemas.kept import Delivery, Webhook
from schemas.notices import Notice
from storage.errors import NotFound
from storage.meta.engine import Metadata
from storage.meta.kept import KeptRepository
from storage.meta.models import outbox, told
from storage.meta.posting import insert_into, put_notices


class Moved(Exception):
    """Somebody else told the same part of the log."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message in the outbox, and how often it was tried; `delivery_id` is what is kept of that."""

    number: int
    notice: Notice
    attempts: int
    delivery_id: str | None


def told_positions(metadata: Metadata, chain: str) -> dict[int, int]:
    """Up to which offset of each partition of a log the outbox has everything; one never told is not among them."""
    with metadata.read() as connection:
        rows = connection.execute(select(told.c.partition, told.c.next).where(told.c.chain == chain))
        return {row.partition: row.next for row in rows}


def tell(metadata: Metadata, chain: str, moves: Mapping[int, tuple[int | None, int]], notices: Sequence[Notice]) -> int:
    """Put messages in and move the positions from where they stood, both or neither; how many found no room.

    Raises Moved where a position does not stand there any more.
    """
    with metadata.write() as connection:
        for partition, (stood, position) in moves.items():
            _move(connection, chain, partition, stood, position)
        return put_notices(connection, notices)


def webhooks_due(metadata: Metadata, now: datetime) -> list[str]:
    """The ids of webhooks that a message is due for."""
    with metadata.read() as connection:
        due = select(outbox.c.webhook_id).where(outbox.c.due_at <= now).distinct()
        return list(connection.execute(due).scalars())


def messages_due(metadata: Metadata, webhook_id: str, now: datetime, most: int) -> list[Waiting]:
    """The oldest messages that are due for a webhook, in their order."""
    due = select(outbox).where(outbox.c.webhook_id == webhook_id, outbox.c.due_at <= now)
    with metadata.read() as connection:
        return [_waiting(row) for row in connection.execute(due.order_by(outbox.c.number).limit(most))]


def drop_messages(metadata: Metadata, webhook_id: str) -> None:
    """Nobody is to be told any more."""
    with metadata.write() as connection:
        connection.execute(outbox.delete().where(outbox.c.webhook_id == webhook_id))


def note_attempt(
    things: KeptRepository, waiting: Waiting, delivery: Delivery, again_at: datetime | None, now: datetime
) -> Webhook | None:
    """Keep what became of an attempt, and whether there is another; the webhook as it is now, None if it is gone."""
    notice = waiting.notice
    this = outbox.c.number == waiting.number
    with things.metadata.write() as connection:
        try:
            webhook = things.find(connection, Webhook, notice.project_id, notice.webhook_id)
        except NotFound:
            connection.execute(outbox.delete().where(outbox.c.webhook_id == notice.webhook_id))
            return None
        kept_id = waiting.delivery_id
        if kept_id is None:
            made = things.insert(connection, notice.project_id, delivery, None, now, parent_id=notice.webhook_id)
            kept_id = made.id
        else:
            things.overwrite(connection, kept_id, delivery)
        if again_at is not None:
            values = {"attempts": delivery.attempts, "due_at": again_at, "delivery_id": kept_id}
            connection.execute(outbox.update().where(this).values(values))
            return webhook.body
        connection.execute(outbox.delete().where(this))
        told_now = after_message(webhook.body, delivery.state_ == "delivered", now)
        things.overwrite(connection, webhook.id, told_now)
        if not told_now.active:
            connection.execute(outbox.delete().where(outbox.c.webhook_id == webhook.id))
        return told_now


def after_message(webhook: Webhook, is_delivered: bool, now: datetime) -> Webhook:
    """The webhook after a message: too many failures in a row over too long a time switch it off."""
    if is_delivered:
        return replace(webhook, last_triggered_at=now, failures=0, failing_since=None)
    since = webhook.failing_since or now
    failures = webhook.failures + 1
    is_active = webhook.active and not (failures >= webhook.most_failures and now - since >= webhook.patience)
    return replace(webhook, failures=failures, failing_since=since, active=is_active)


def _move(connection: Connection, chain: str, partition: int, stood: int | None, position: int) -> None:
    if stood is None:
        move = insert_into(connection, told).values(chain=chain, partition=partition, next=position)
        move = move.on_conflict_do_nothing()
    else:
        here = (told.c.chain == chain) & (told.c.partition == partition) & (told.c.next == stood)
        move = told.update().where(here).values(next=position)
    if connection.execute(move.returning(told.c.next)).one_or_none() is None:
        raise Moved(f"partition {partition} does not stand at {stood} any more")


def _waiting(row: Row[Any]) -> Waiting:
    data = msgspec.json.decode(row.data)
    notice = Notice(row.id, row.webhook_id, row.project_id, row.event, row.at, data)
    return Waiting(row.number, notice, row.attempts, row.delivery_id)
