"""Pulls what is due, window by window: events through the intake, and only then the cursor."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiohttp import ClientSession

from api.connectors.asking import open_session
from api.connectors.catalogue import Catalogue
from api.connectors.connector import Connector, Item, NotPullable, ProviderFailed, settled_window
from api.errors import LogUnavailable
from api.ingest.intake import From, Intake, InvalidItem
from api.threads import in_thread
from schemas.instants import parse_instant
from schemas.kept import Source
from schemas.people import CHANGES
from schemas.windows import TimeRange
from storage.errors import SecretUnreadable, StorageError
from storage.lake.erased import Erased
from storage.meta.kept import Kept, KeptRepository
from storage.meta.leases import give_up, hold
from storage.meta.secrets import new_id
from storage.meta.sources import Taken, due_syncs, note_failure, note_rest, note_window, pulled_source

logger = logging.getLogger(__name__)

# Whoever falls silent for so long is taken for dead; what it had begun is read again, and kept once.
LEASE_LENGTH: Final = timedelta(seconds=60)
_RENEW_AFTER: Final = LEASE_LENGTH / 4
_LOOK_SECONDS: Final = 2.0
# More sources than that take turns; each holds one batch in memory.
_MOST_AT_ONCE: Final = 4
_TURN: Final = timedelta(minutes=1)
_BATCH_EVENTS: Final = 500
_BATCH_BYTES: Final = 1024 * 1024
_LOG_SECONDS: Final = 2.0
_SHORTEST_PAUSE: Final = timedelta(minutes=1)
_LONGEST_PAUSE: Final = timedelta(hours=6)
# What events of a sync are counted under beside lanes and dialects.
_LANE: Final = "sync"


def pause(failures: int, wait_seconds: float | None) -> timedelta:
    """How long to wait after a failure with so many before it: what was asked for, else twice as long each time."""
    if wait_seconds is not None:
        return min(max(timedelta(seconds=wait_seconds), timedelta(seconds=1)), timedelta(days=1))
    return min(_SHORTEST_PAUSE * (1 << min(failures, 10)), _LONGEST_PAUSE)


def _now() -> datetime:
    return datetime.now(UTC)


class _Stopped(Exception):
    """The source or its project is gone."""


class Syncer:
    """For one event loop. Of all processes on one database, one at a time pulls a source."""

    def __init__(
        self,
        things: KeptRepository,
        intake: Intake,
        catalogue: Catalogue,
        erased: Callable[[], Erased],
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """`erased` says who was erased by now, and may block."""
        self._things = things
        self._metadata = things.metadata
        self._intake = intake
        self._catalogue = catalogue
        self._erased = erased
        self._clock = clock
        self._holder = new_id("holder")
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._renewed_at = clock()

    async def run(self) -> None:
        """For ever; a window that is being read when it is cancelled is read again by whoever comes next."""
        try:
            while True:
                try:
                    await self.step()
                except StorageError as error:
                    logger.warning("syncs wait", extra={"reason": str(error)})
                except Exception:  # the edge of a task: the sources of everybody hang on it
                    logger.exception("syncs wait")
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            for task in self._busy.values():
                task.cancel()
            await self.idle()

    async def step(self) -> None:
        """Begin what is due and nobody else's, and keep what was begun."""
        now = self._clock()
        if now - self._renewed_at >= _RENEW_AFTER:
            self._renewed_at = now
            for source_id, task in list(self._busy.items()):
                if not await self._holds(source_id, now):
                    task.cancel()
        for source in await in_thread(lambda: due_syncs(self._metadata, now)):
            if len(self._busy) >= _MOST_AT_ONCE:
                return
            if source.id not in self._busy and await self._holds(source.id, now):
                self._busy[source.id] = asyncio.create_task(self._sync(source))

    async def idle(self) -> None:
        """Wait until nothing is being pulled."""
        while self._busy:
            await asyncio.wait(self._busy.values())

    async def _holds(self, source_id: str, now: datetime) -> bool:
        return await in_thread(lambda: hold(self._metadata, f"sync:{source_id}", self._holder, now, LEASE_LENGTH))

    async def _sync(self, source: Kept[Source]) -> None:
        """Window after window until nothing is left, something is in the way, or it is somebody else's turn."""
        turn = self._clock() + _TURN
        try:
            async with open_session() as session:
                # As it is now each time: somebody may have changed its credentials, or asked for another start.
                while (found := await self._found(source)) is not None and await self._advance(session, found):
                    if self._clock() >= turn:
                        break
        except StorageError as error:
            logger.warning("a sync waits", extra={"source": source.id, "reason": str(error)})
        except _Stopped:
            logger.info("a sync ends with its source", extra={"source": source.id})
        finally:
            try:
                with contextlib.suppress(StorageError):
                    await in_thread(lambda: give_up(self._metadata, f"sync:{source.id}", self._holder))
            finally:  # after the lease, or a successor of the same holder would lose it
                del self._busy[source.id]

    async def _found(self, source: Kept[Source]) -> Kept[Source] | None:
        return await in_thread(lambda: pulled_source(self._things, source.project_id, source.id))

    async def _advance(self, session: ClientSession, source: Kept[Source]) -> bool:
        """Take one window; False where there is none, or it could not be taken."""
        sync = source.body.sync
        assert sync is not None
        try:
            connector = await in_thread(lambda: self._connector(source))
            window = settled_window(connector, sync.cursor, self._clock())
            if window is None:
                until = sync.cursor + connector.window + connector.settles
                await in_thread(lambda: note_rest(self._things, source, until, self._clock()))
                return False
            taken = await self._take(session, source, connector, window)
        except ProviderFailed as error:
            return await self._fail(source, error)
        except (StorageError, _Stopped):
            raise
        except Exception:  # the edge of a task: nobody else would tell
            logger.exception("a sync failed", extra={"source": source.id})
            return await self._fail(source, ProviderFailed("The sync failed unexpectedly; it is tried again"))
        return await in_thread(lambda: note_window(self._things, source, window, taken, self._clock()))

    def _connector(self, source: Kept[Source]) -> Connector:
        try:
            secret = self._things.secret(Source, source.project_id, source.id)
            return self._catalogue.connector(source.body.provider, secret)
        except SecretUnreadable as error:
            raise ProviderFailed("The credentials cannot be read any more: set them again") from error
        except NotPullable as error:
            raise ProviderFailed(str(error)) from error

    async def _fail(self, source: Kept[Source], error: ProviderFailed) -> bool:
        sync, now = source.body.sync, self._clock()
        again = now + pause(0 if sync is None else sync.failures, error.wait_seconds)
        logger.warning("a sync is put off", extra={"source": source.id, "reason": error.message})
        await in_thread(lambda: note_failure(self._things, source, error.message, again, error.is_error, now))
        return False

    async def _take(
        self, session: ClientSession, source: Kept[Source], connector: Connector, window: TimeRange
    ) -> Taken:
        """All of a window into the log. While the log takes nothing, nothing more is read."""
        taken, batch, size = Taken(), list[Item](), 0
        async with contextlib.aclosing(connector.items(session, window)) as items:
            async for item in items:
                batch.append(item)
                size += item.size
                if len(batch) >= _BATCH_EVENTS or size >= _BATCH_BYTES:
                    taken += await self._send(source, batch)
                    batch, size = [], 0
        return taken + await self._send(source, batch) if batch else taken

    async def _send(self, source: Kept[Source], items: Sequence[Item]) -> Taken:
        if await self._found(source) is None:
            raise _Stopped
        erased = await in_thread(self._erased)
        events = [
            {} if item.event.get("event") in CHANGES else {**item.event, "source": source.id}
            for item in items
            if not _is_erased(erased, source.project_id, item.event)
        ]
        good: list[Mapping[str, Any]] = []
        refused = 0
        while events:
            try:
                await self._accept(source, events)
                break
            except InvalidItem as error:
                good += events[: error.index]
                events = events[error.index + 1 :]
                refused += 1
        if good:
            await self._accept(source, good)
        return Taken(len(good) + len(events), refused)

    async def _accept(self, source: Kept[Source], events: Sequence[Mapping[str, Any]]) -> None:
        """Once the log has all of them. Raises InvalidItem."""
        while True:
            try:
                await self._intake.accept(source.project_id, From(_LANE), events)
                return
            except LogUnavailable:
                await asyncio.sleep(_LOG_SECONDS)
                if await self._found(source) is None:
                    raise _Stopped from None


def _is_erased(erased: Erased, project: int, event: Mapping[str, Any]) -> bool:
    """Whether it is of somebody who was erased after it happened: the provider still has it, and we must not."""
    if erased.newest < 0:
        return False
    try:
        at = parse_instant(event["timestamp"])
    except (LookupError, ValueError):
        return False
    who = (event.get("userId"), event.get("anonymousId"))
    return any(erased.covers(project, one, at) for one in who if one is not None)
