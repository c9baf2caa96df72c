"""Carries out what was asked to be erased: people, projects whose time in the trash is over, and events too old."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any

from msgspec.structs import replace

from api.analytics.answering import Analytics
from schemas.erasures import Erasure
from storage.errors import StorageError
from storage.maintenance.erasure import Receipt
from storage.maintenance.maintainer import Maintainer
from storage.maintenance.manual import by_hand
from storage.maintenance.settings import MaintenanceSettings
from storage.meta.engine import Metadata
from storage.meta.kept import Kept, KeptRepository
from storage.meta.projects import days_kept, finish_purge, projects_to_purge
from storage.settings import StorageSettings

logger = logging.getLogger(__name__)

# Soon enough for whoever waits for the receipt, and seldom enough for the database.
LOOK_SECONDS = 5.0
# Days end seldom; a new setting is heeded within the hour.
FORGET_SECONDS = 3600.0

# Erases a person, or with None everybody, of a project; blocks, and may be repeated.
Eraser = Callable[[int, str | None, datetime], Receipt]
# Takes a project's events of before an instant out; blocks, and may be repeated.
Forgetter = Callable[[int, datetime, datetime], int]


async def ids_of(analytics: Analytics, project: int, wanted: str) -> tuple[str, ...]:
    """All ids of a person, by any of them; that one alone where nothing is known. Raises Problem."""
    person = (await analytics.person(project, wanted)).answer
    return (wanted,) if person is None else tuple(dict.fromkeys((wanted, person.user_id, *person.aliases)))


def eraser(settings: StorageSettings) -> Eraser:
    """Erases in the lake that the settings name."""

    def erase(project: int, distinct_id: str | None, now: datetime) -> Receipt:
        return _maintainer(settings).erase(project, distinct_id, now)

    return erase


def forgetter(settings: StorageSettings) -> Forgetter:
    """Forgets in the lake that the settings name."""

    def forget(project: int, before: datetime, now: datetime) -> int:
        return _maintainer(settings).forget(project, before, now)

    return forget


def _maintainer(settings: StorageSettings) -> Maintainer:
    return by_hand(MaintenanceSettings(**{name: getattr(settings, name) for name in StorageSettings.model_fields}))


async def erase_for_ever(things: KeptRepository, erase: Eraser) -> None:
    """Look for what is due again and again. Several processes may do so: an erasure can be repeated."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await asyncio.to_thread(erase_due, things, erase, datetime.now(UTC))
        except (StorageError, OSError):
            logger.exception("an erasure was put off")


async def forget_for_ever(metadata: Metadata, forget: Forgetter) -> None:
    """Keep what projects keep and no more. Several processes may do so: it can be repeated."""
    done: dict[int, datetime] = {}
    while True:
        try:
            await asyncio.to_thread(forget_old, metadata, forget, datetime.now(UTC), done)
        except (StorageError, OSError):
            logger.exception("a project's retention was put off")
        await asyncio.sleep(FORGET_SECONDS)


def forget_old(metadata: Metadata, forget: Forgetter, now: datetime, done: dict[int, datetime]) -> None:
    """Whole UTC days that are older than a project keeps; `done` says what was looked at before.

    What fails stays due. Blocks. Raises what the first failure raised, at the end.
    """
    failures: list[Exception] = []
    for project, days in days_kept(metadata).items():
        before = datetime.combine(now.date() - timedelta(days=days), time(), UTC)
        if done.get(project) == before:
            continue
        try:
            forget(project, before, now)
            done[project] = before
        except (StorageError, OSError) as error:
            failures.append(error)
    if failures:
        raise failures[0]


def erase_due(things: KeptRepository, erase: Eraser, now: datetime) -> None:
    """Everything that is due; what fails stays due. Blocks. Raises what the first failure raised, at the end."""
    failures: list[Exception] = []
    for job in things.everywhere(Erasure):
        if job.body.status == "pending":
            try:
                _carry_out(things, erase, job, now)
            except (StorageError, OSError) as error:
                failures.append(error)
    for project in projects_to_purge(things.metadata, now):
        try:
            erase(project, None, now)
            finish_purge(things.metadata, project, now)
        except (StorageError, OSError) as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _carry_out(things: KeptRepository, erase: Eraser, job: Kept[Erasure], now: datetime) -> None:
    receipts = tuple(_told(erase(job.project_id, known, now)) for known in job.body.ids)
    done = replace(job.body, ids=(), status="done", receipts=receipts)
    things.change(Erasure, job.project_id, job.id, lambda _: done, None, now)


def _told(receipt: Receipt) -> dict[str, Any]:
    """A receipt as it is kept and shown."""
    return {
        "erasedAt": receipt.erased_at.isoformat().replace("+00:00", "Z"),
        "tables": [
            {
                "table": table.table,
                "files": table.files,
                "rowsBefore": table.rows_before,
                "rowsAfter": table.rows_after,
                "lakeVersion": table.version,
            }
            for table in receipt.tables
        ],
        "filesDeleted": receipt.files_deleted,
        "rebuiltDates": [day.isoformat() for day in receipt.rebuilt],
    }
