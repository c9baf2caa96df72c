"""The service looks at itself once a minute, and keeps what it saw."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from api.health import Readiness
from storage.errors import Unavailable
from storage.meta.checks import PERIOD_SECONDS, Check, latest_check, record_check
from storage.meta.engine import Metadata

logger = logging.getLogger(__name__)

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


async def check_every_minute(
    readiness: Readiness, metadata: Metadata, clock: Clock = time.time, sleep: Sleep = asyncio.sleep
) -> None:
    """For ever, on the minute. A minute in which the database was away has no check: it could not be kept."""
    while True:
        await sleep(PERIOD_SECONDS - clock() % PERIOD_SECONDS)
        begun = time.monotonic()
        try:
            # Reading is part of the look: its time says how the database does.
            await asyncio.to_thread(latest_check, metadata)
            is_ok = not await readiness.reasons()
            check = Check(datetime.fromtimestamp(clock(), UTC), is_ok, round((time.monotonic() - begun) * 1000))
            await asyncio.to_thread(record_check, metadata, check)
        except Unavailable as error:
            logger.warning("the minute's check could not be kept", extra={"reason": str(error)})
