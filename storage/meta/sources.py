"""Sources with their write keys, made together and gone together; and how far each was pulled."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from schemas.kept import Source, Sync
from schemas.projects import Dialect, Scope
from schemas.windows import TimeRange
from storage.errors import Conflict, NotFound
from storage.meta.activities import Actor
from storage.meta.engine import Metadata
from storage.meta.kept import Kept, KeptRepository, account_of, everywhere
from storage.meta.keys import KeySpec, NewKey, insert_key
from storage.meta.models import keys
from storage.meta.projects import project

# How much of the past the first sync brings where nobody says.
FIRST_SYNC = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Taken:
    """Of the items of a provider: how many the log has, and of how many no event could be made."""

    accepted: int = 0
    refused: int = 0

    def __add__(self, other: "Taken") -> "Taken":
        return Taken(self.accepted + other.accepted, self.refused + other.refused)


def create_source(
    things: KeptRepository, project_id: int, body: Source, credentials: bytes, by: Actor, now: datetime
) -> tuple[Kept[Source], NewKey]:
    """Keep a source, its credentials sealed, and mint its write key; raises as `KeptRepository.create`."""
    with things.metadata.write() as connection:
        made = things.insert(connection, project_id, body, by, now, secret=credentials)
        owner = account_of(connection, project_id)
        spec = KeySpec(owner, Dialect.JCHT, Scope.INGEST, project_id, body.name, source=made.id)
        key = insert_key(connection, spec, now)
        made = things.put(connection, made, replace(made.body, key_id=key.record.key.id))
    things.metadata.key_revision.bump()
    return made, key


def delete_source(things: KeptRepository, project_id: int, source_id: str, by: Actor, now: datetime) -> Kept[Source]:
    """Delete a source and revoke its keys, which are refused from the next request on. Raises NotFound."""
    with things.metadata.write() as connection:
        gone = things.remove(connection, Source, project_id, source_id, by, now)
        live = (keys.c.source == gone.id) & keys.c.revoked_at.is_(None)
        connection.execute(keys.update().where(live).values(revoked_at=now))
    things.metadata.key_revision.bump()
    return gone


def request_sync(
    things: KeptRepository, project_id: int, source_id: str, start: datetime | None, by: Actor, now: datetime
) -> Kept[Source]:
    """Make a source due at once: from `start` where it is given, else from where it was left. Raises NotFound."""

    def due(old: Source) -> Source:
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        sync = old.sync or Sync(cursor=midnight - FIRST_SYNC, next=now)
        return replace(old, sync=replace(sync, cursor=start or sync.cursor, next=now, failures=0))

    return things.change(Source, project_id, source_id, due, by, now)


def due_syncs(metadata: Metadata, now: datetime) -> list[Kept[Source]]:
    """The sources to be pulled now, the longest due first; none of projects that are deleted."""
    due = [
        (source.body.sync.next, source)
        for source in everywhere(metadata, Source)
        if source.body.sync is not None and source.body.sync.next <= now
    ]
    return [source for _, source in sorted(due, key=lambda pair: pair[0])]


def note_window(things: KeptRepository, source: Kept[Source], window: TimeRange, taken: Taken, now: datetime) -> bool:
    """The log has all of a window: the cursor moves to its end. False where the source is not as it was any more."""

    def moved(body: Source, sync: Sync) -> Source:
        if sync.cursor != window.start:
            raise Conflict("the cursor was moved meanwhile")
        sync = replace(
            sync,
            cursor=window.end,
            next=now,  # behind those who have waited for longer
            failures=0,
            accepted=sync.accepted + taken.accepted,
            refused=sync.refused + taken.refused,
        )
        return replace(body, status="active", status_message=None, last_sync=now, sync=sync)

    return _noted(things, source, moved, now)


def note_rest(things: KeptRepository, source: Kept[Source], until: datetime, now: datetime) -> bool:
    """Nothing more is to be had before then."""

    def rested(body: Source, sync: Sync) -> Source:
        if sync != source.body.sync:
            raise Conflict("somebody asked for more meanwhile")
        return replace(body, sync=replace(sync, next=until))

    return _noted(things, source, rested, now)


def note_failure(
    things: KeptRepository, source: Kept[Source], message: str, again_at: datetime, is_error: bool, now: datetime
) -> bool:
    """The provider did not give what was asked for, or with no error asked to wait."""

    def failed(body: Source, sync: Sync) -> Source:
        if sync.next != (source.body.sync or sync).next:  # asked for anew, perhaps with other credentials
            raise Conflict("somebody asked for it again meanwhile")
        status = "error" if is_error else body.status
        return replace(
            body, status=status, status_message=message, sync=replace(sync, next=again_at, failures=sync.failures + 1)
        )

    return _noted(things, source, failed, now)


def pulled_source(things: KeptRepository, project_id: int, source_id: str) -> Kept[Source] | None:
    """A source as it is now, unless it or its project was deleted or nobody wants it pulled."""
    found = things.get(Source, project_id, source_id)
    if found is None or found.body.sync is None or project(things.metadata, project_id) is None:
        return None
    return found


def _noted(
    things: KeptRepository, source: Kept[Source], noted: Callable[[Source, Sync], Source], now: datetime
) -> bool:
    def change(body: Source) -> Source:
        if body.sync is None:
            raise Conflict("it is not pulled any more")
        return noted(body, body.sync)

    try:
        things.change(Source, source.project_id, source.id, change, None, now)
    except (NotFound, Conflict):
        return False
    return True
