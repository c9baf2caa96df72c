"""Takes what waits in the outbox to its webhooks: in order, again where it failed, each webhook by itself."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from api.threads import in_thread
from api.webhooks.courier import Courier, Outcome
from api.webhooks.messages import Message, message
from schemas.kept import Delivery, Webhook, WebhookFormat
from storage.errors import SecretUnreadable, StorageError
from storage.meta.kept import KeptRepository
from storage.meta.leases import give_up, hold
from storage.meta.outbox import Waiting, drop_messages, messages_due, note_attempt, webhooks_due
from storage.meta.projects import project
from storage.meta.secrets import new_id
from storage.metrics import count

logger = logging.getLogger(__name__)

LEASE: Final = "webhooks"
# Whoever falls silent for so long is taken for dead, and what it was sending is sent again under the same id.
LEASE_LENGTH: Final = timedelta(seconds=15)
_RENEW_AFTER: Final = LEASE_LENGTH / 3
_POLL_SECONDS: Final = 0.5
_MOST_AT_ONCE: Final = 50

# Seconds from the start of each attempt to the next one: attempts at 0, 5 and 25 s; at 0, 1, 5 and 30 min.
GAPS: Final[Mapping[WebhookFormat, tuple[int, ...]]] = {"native": (5, 20), "zta": (5, 20), "ovyxa": (60, 240, 1500)}


def next_attempt(form: WebhookFormat, attempts: int, outcome: Outcome, started: datetime) -> datetime | None:
    """When a message is tried again after so many attempts; None: never."""
    if outcome.is_delivered or attempts > len(GAPS[form]):
        return None
    # Ovyxa repeats whatever is not 2xx; the others what may pass. What leads inside is never tried again.
    is_repeated = outcome.is_transient or (form == "ovyxa" and outcome.status is not None)
    return started + timedelta(seconds=GAPS[form][attempts - 1]) if is_repeated else None


def _now() -> datetime:
    return datetime.now(UTC)


class Dispatcher:
    """For one event loop. Of all processes on one database, one at a time sends."""

    def __init__(self, things: KeptRepository, courier: Courier, clock: Callable[[], datetime] = _now) -> None:
        self._things = things
        self._metadata = things.metadata
        self._courier = courier
        self._clock = clock
        self._holder = new_id("holder")
        self._held_until: datetime | None = None
        self._asked_at: datetime | None = None
        self._busy: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """For ever; what is being sent when it is cancelled is sent again by whoever comes next."""
        try:
            while True:
                try:
                    await self.step()
                except StorageError as error:
                    logger.warning("messages to webhooks wait", extra={"reason": str(error)})
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            await self._stop()

    async def step(self) -> None:
        """Begin to send what is due, if this is the process that sends."""
        if not await self._holds():
            return
        for webhook_id in await in_thread(lambda: webhooks_due(self._metadata, self._clock())):
            if webhook_id not in self._busy:
                self._busy[webhook_id] = asyncio.create_task(self._serve(webhook_id))

    async def idle(self) -> None:
        """Wait until nothing is being sent."""
        while self._busy:
            await asyncio.wait(self._busy.values())

    async def _holds(self) -> bool:
        now = self._clock()
        if self._asked_at is None or now - self._asked_at >= _RENEW_AFTER:
            self._asked_at = now
            is_held = await in_thread(lambda: hold(self._metadata, LEASE, self._holder, now, LEASE_LENGTH))
            self._held_until = now + LEASE_LENGTH if is_held else None
        return self._held_until is not None and now < self._held_until

    async def _serve(self, webhook_id: str) -> None:
        try:
            waiting = await in_thread(lambda: messages_due(self._metadata, webhook_id, self._clock(), _MOST_AT_ONCE))
            for one in waiting:
                if self._held_until is None or self._clock() >= self._held_until or not await self._send(one):
                    return
        except StorageError as error:
            logger.warning("messages to a webhook wait", extra={"webhook": webhook_id, "reason": str(error)})
        except Exception:
            count("streamgauge_alarms_total", kind="webhooks")
            logger.exception("a webhook is not told", extra={"webhook": webhook_id})
        finally:
            del self._busy[webhook_id]

    async def _send(self, waiting: Waiting) -> bool:
        """Try a message once, and keep what became of it; whether its webhook still wants to be told."""
        notice = waiting.notice
        webhook = await in_thread(lambda: self._things.get(Webhook, notice.project_id, notice.webhook_id))
        if webhook is None or not webhook.body.active:
            await in_thread(lambda: drop_messages(self._metadata, notice.webhook_id))
            return False
        started = self._clock()
        made = await in_thread(lambda: self._made(waiting, webhook.body))
        if made is None:
            outcome = Outcome(error="the webhook's secret cannot be read any more")
        else:
            outcome = await self._courier.post(webhook.body.url, made.body, made.headers)
        attempts = waiting.attempts + 1
        again_at = next_attempt(webhook.body.format, attempts, outcome, started)
        now = self._clock()
        delivery = Delivery(
            event=notice.event,
            message_id=notice.id,
            payload="" if made is None else made.body.decode(),
            attempts=attempts,
            state_="delivered" if outcome.is_delivered else "failed" if again_at is None else "pending",
            response_status=outcome.status,
            error=outcome.error,
            finished_at=now if again_at is None else None,
        )
        noted = await in_thread(lambda: note_attempt(self._things, waiting, delivery, again_at, now))
        if again_at is None:
            count("streamgauge_webhook_messages_total", outcome=delivery.state_)
        return noted is not None and noted.active

    def _made(self, waiting: Waiting, webhook: Webhook) -> Message | None:
        notice = waiting.notice
        try:
            secret = self._things.secret(Webhook, notice.project_id, notice.webhook_id)
        except SecretUnreadable:
            return None
        tenant = project(self._metadata, notice.project_id)
        if secret is None or tenant is None:
            return None
        return message(
            webhook.format, notice.webhook_id, secret, tenant, notice.event, notice.data, notice.at, notice.id
        )

    async def _stop(self) -> None:
        tasks = list(self._busy.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._held_until is not None:
            with contextlib.suppress(StorageError):
                await in_thread(lambda: give_up(self._metadata, LEASE, self._holder))
