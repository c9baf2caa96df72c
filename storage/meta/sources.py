"""Sources with their write keys: made together, and gone together."""

from datetime import datetime

from msgspec.structs import replace

from schemas.kept import Source
from schemas.projects import Dialect, Scope
from storage.meta.activities import Actor
from storage.meta.kept import Kept, KeptRepository, account_of
from storage.meta.keys import KeySpec, NewKey, insert_key
from storage.meta.models import keys


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
