"""What only the door sees of a visitor: the daily salted hash. The address goes no further."""

import hmac
import os
import secrets
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from storage.errors import Unavailable

SALT_BYTES = 32
SALT_LIFE = timedelta(hours=48)

_PREFIX = "visitor-salt-"


def visitor_hash(salt: bytes, project_id: int, ip: str | None, user_agent: str | None) -> str:
    """The id of a visitor of one project for one day; it cannot be turned back once the salt is gone."""
    # NUL is in no address and in no header, so no two visitors share a message.
    message = f"{project_id}\0{ip or ''}\0{user_agent or ''}".encode("utf-8", "surrogatepass")
    return "v_" + hmac.digest(salt, message, "sha256").hex()


def salt_day(now: datetime) -> date:
    """The UTC day whose salt applies."""
    return now.astimezone(UTC).date()


def is_dead(day: date, now: datetime) -> bool:
    """Whether the salt of a day has lived its 48 hours, counted from the day's start."""
    return now >= datetime(day.year, day.month, day.day, tzinfo=UTC) + SALT_LIFE


class SaltStore:
    """One random salt a UTC day, shared by every API process of the host through files in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._day: date | None = None
        self._salt = b""

    def salt(self, now: datetime) -> bytes:
        """The salt of the day, made by whichever process comes first; raises Unavailable."""
        day = salt_day(now)
        if day != self._day:
            try:
                self.purge(now)
                self._salt = _read_or_create(self._directory / f"{_PREFIX}{day.isoformat()}")
            except OSError as error:
                raise Unavailable(f"visitor salt in {self._directory}: {error.strerror or error}") from error
            self._day = day
        return self._salt

    def purge(self, now: datetime) -> None:
        """Forget every salt past its life, in memory and on disk; to be called hourly, as days may have no visitor."""
        if self._day is not None and is_dead(self._day, now):
            self._day, self._salt = None, b""
        for path in self._directory.glob(f"{_PREFIX}*"):
            day = _day_of(path)
            if day is not None and is_dead(day, now):
                path.unlink(missing_ok=True)


def _read_or_create(path: Path) -> bytes:
    """The salt in this file. A link makes the whole file appear at once, and only for the first who tries."""
    if not path.exists():
        draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        try:
            _write(draft, secrets.token_bytes(SALT_BYTES))
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was first: its salt is the day's
        finally:
            draft.unlink(missing_ok=True)
    salt = path.read_bytes()
    if len(salt) != SALT_BYTES:
        raise Unavailable(f"the visitor salt {path} is damaged: delete the file and a new one is made")
    return salt


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _day_of(path: Path) -> date | None:
    """The day in a salt's file name, drafts left by a killed process included."""
    try:
        return date.fromisoformat(path.name.removeprefix(_PREFIX)[:10])
    except ValueError:
        return None
