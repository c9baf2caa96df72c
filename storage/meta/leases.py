"""Work that one process at a time does for all: whoever holds its lease."""

from datetime import datetime, timedelta

from sqlalchemy.exc import IntegrityError

from storage.meta.engine import Metadata
from storage.meta.models import leases


def hold(metadata: Metadata, name: str, holder: str, now: datetime, length: timedelta) -> bool:
    """Take a lease that nobody has, or keep one's own, until `length` from now; False while somebody else has it."""
    free = (leases.c.holder == holder) | (leases.c.until <= now)
    taken = leases.update().where(leases.c.name == name, free).values(holder=holder, until=now + length)
    try:
        with metadata.write() as connection:
            if connection.execute(taken).rowcount:
                return True
            connection.execute(leases.insert().values(name=name, holder=holder, until=now + length))
    except IntegrityError:  # it is somebody's
        return False
    return True


def give_up(metadata: Metadata, name: str, holder: str) -> None:
    """Let the next one have it at once."""
    with metadata.write() as connection:
        connection.execute(leases.delete().where(leases.c.name == name, leases.c.holder == holder))
