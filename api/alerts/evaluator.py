"""Once a minute, in one process of all: what time brings about is told to webhooks, and alerts are looked at."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import json

from api.alerts.closing import Closing
from api.alerts.deciding import Windows, decide, is_silent, windows_of
from api.alerts.measuring import Meter, Stale
from api.alerts.spikes import Spikes
from api.alerts.usage import Usage
from api.errors import Problem
from api.mail import Mailer
from api.webhooks.courier import Courier
from schemas.kept import Alert, Trigger
from schemas.questions import InvalidQuestion
from storage.errors import StorageError
from storage.meta.accounts import account
from storage.meta.alarms import go_off
from storage.meta.kept import Kept, KeptRepository
from storage.meta.leases import hold
from storage.meta.projects import project
from storage.meta.secrets import new_id

logger = logging.getLogger(__name__)

LEASE: Final = "alerts"
PERIOD_SECONDS: Final = 60
_MARGIN_SECONDS: Final = 0.05
# A minute that was missed is nobody's; two, and another process looks.
_LEASE_LENGTH: Final = timedelta(seconds=2 * PERIOD_SECONDS)
_MOST_HELD: Final = 4096


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Post:
    """The ways out, beside webhooks."""

    mailer: Mailer
    courier: Courier
    slack_url: str | None = field(default=None, repr=False)


class Evaluator:
    """For one event loop."""

    def __init__(
        self,
        things: KeptRepository,
        meter: Meter,
        post: Post,
        tellers: Sequence[Closing | Spikes | Usage],
        clock: Callable[[], datetime] = _now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._things = things
        self._meter = meter
        self._post = post
        self._tellers = tellers
        self._clock = clock
        self._sleep = sleep
        self._holder = new_id("holder")
        # Anomalies that were looked at: their hour is over, and will not be another.
        self._seen: dict[tuple[str, datetime], None] = {}

    async def run(self) -> None:
        """For ever, on the minute."""
        while True:
            # A timer may wake a little early, and the minute would be looked at twice.
            await self._sleep(PERIOD_SECONDS - self._clock().timestamp() % PERIOD_SECONDS + _MARGIN_SECONDS)
            try:
                await self.step()
            except StorageError as error:
                logger.warning("alerts are not looked at", extra={"reason": str(error)})
            except Exception:
                logger.exception("alerts are not looked at")

    async def step(self) -> None:
        """Look at every alert that is enabled and not silent, if this is the process that looks."""
        now = self._clock()
        if not await asyncio.to_thread(hold, self._things.metadata, LEASE, self._holder, now, _LEASE_LENGTH):
            return
        for teller in self._tellers:
            await teller.step(now)
        for alert in await asyncio.to_thread(self._things.everywhere, Alert):
            if alert.body.enabled and not is_silent(alert.body, now):
                await self._look(alert, now)

    async def _look(self, alert: Kept[Alert], now: datetime) -> None:
        windows = windows_of(alert.body, now)
        seen = (alert.id, windows.now.end)
        if alert.body.type == "anomaly" and seen in self._seen:
            return
        try:
            figure = await self._meter.read(alert.project_id, alert.body.metric, windows.now, now)
            if figure is None:
                return
            is_off = decide(alert.body, figure, await self._before(alert, windows, now))
        except Stale:  # another minute will tell
            return
        except (Problem, StorageError, InvalidQuestion) as error:
            logger.warning("an alert cannot be looked at", extra={"alert": alert.id, "reason": str(error)})
            return
        if alert.body.type == "anomaly":
            self._seen[seen] = None
            if len(self._seen) > _MOST_HELD:
                del self._seen[next(iter(self._seen))]
        if is_off:
            await self._go_off(alert, figure, now)

    async def _before(self, alert: Kept[Alert], windows: Windows, now: datetime) -> list[float]:
        """The figures of the windows before that the project was there for."""
        found: list[float] = []
        tenant = await asyncio.to_thread(project, self._things.metadata, alert.project_id)
        for span in windows.before:
            if alert.body.type == "anomaly" and (tenant is None or span.start < tenant.created_at):
                break
            figure = await self._meter.read(alert.project_id, alert.body.metric, span, now)
            if figure is not None:
                found.append(figure)
        return found

    async def _go_off(self, alert: Kept[Alert], figure: float, now: datetime) -> None:
        told = await asyncio.to_thread(self._told, alert)
        trigger = await asyncio.to_thread(go_off, self._things, alert, figure, tuple(told), now)
        if trigger is None:
            return
        text = _text(alert, trigger)
        if (address := told.get("email")) is not None:
            await asyncio.to_thread(self._post.mailer.send, address, f"Alert: {alert.body.name}", text)
        if (url := told.get("slack")) is not None:
            outcome = await self._post.courier.post(url, json.encode({"text": text}), {})
            if not outcome.is_delivered:
                logger.warning("Slack was not told of an alert", extra={"alert": alert.id, "reason": str(outcome)})

    def _told(self, alert: Kept[Alert]) -> dict[str, str]:
        """The channels beside webhooks, each with where it leads."""
        tenant = project(self._things.metadata, alert.project_id)
        owner = None if tenant is None else account(self._things.metadata, tenant.account_id)
        found: dict[str, str] = {}
        if "email" in alert.body.channels and owner is not None:
            found["email"] = owner.email
        if "slack" in alert.body.channels and self._post.slack_url is not None:
            found["slack"] = self._post.slack_url
        return found


def _text(alert: Kept[Alert], trigger: Kept[Trigger]) -> str:
    body = trigger.body
    return (
        f"The alert {alert.body.name} went off at {trigger.created_at:%Y-%m-%d %H:%M} UTC.\n\n"
        f"Condition: {body.condition}\n{body.metric} in the last {alert.body.period}: {body.value:g}\n"
    )
