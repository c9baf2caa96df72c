"""Credentials resolved from memory, dropped as soon as any process of the host changes one."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Final

from schemas.projects import Dialect, Key, Scope
from storage.meta.engine import Metadata
from storage.meta.keys import find_record, touch_keys
from storage.meta.logins import login_key, touch_logins
from storage.meta.projects import find_project
from storage.meta.secrets import key_digest
from storage.meta.tokens import Tokens, looks_like_token

# A revocation on another host holds after this long; shorter costs each live key one more query.
FRESH_SECONDS: Final = 30.0
# About 1 KB an entry; beyond it the one read longest ago is dropped.
CAPACITY: Final = 10_000


_Found = tuple[Key, datetime | None]


@dataclass(frozen=True, slots=True)
class _Entry:
    key: Key
    revision: int
    valid_until: float


class KeyCache:
    """Credential to who it is: keys, and tokens of logins. `peek` only reads memory, `resolve` may query and block; any
    thread may call both.

    Only live ones are kept, under the hash of their secret. An unknown one is looked up each time, so that a new key
    works at once. Ingestion tokens of projects are no keys, and are asked for by methods of their own.
    """

    def __init__(
        self,
        metadata: Metadata,
        clock: Callable[[], float] = time.time,
        capacity: int = CAPACITY,
        tokens: Tokens | None = None,
    ) -> None:
        self._metadata = metadata
        self._revision = metadata.key_revision
        self._clock = clock
        self._capacity = capacity
        self._tokens = tokens
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._uses: dict[str, float] = {}
        self._logins: dict[str, float] = {}
        self._lock = Lock()

    def peek(self, secret: str | bytes) -> Key | None:
        """The key if it is in memory and still known to hold; None says nothing about it."""
        return self._hit(key_digest(secret), self._clock())

    def resolve(self, secret: str | bytes) -> Key | None:
        """The key, or None if it is unknown, expired or revoked; raises Unavailable."""
        digest = key_digest(secret)
        now = self._clock()
        return self._hit(digest, now) or self._load(digest, now, lambda at: self._find(secret, at))

    def peek_token(self, token: str) -> Key | None:
        """As `peek`, for the ingestion token of a project."""
        return self._hit(_token_digest(token), self._clock())

    def resolve_token(self, token: str) -> Key | None:
        """Whose project this ingestion token is of, as a key that may only send; raises Unavailable."""
        digest = _token_digest(token)
        now = self._clock()
        return self._hit(digest, now) or self._load(digest, now, lambda _: self._find_token(token))

    def store_uses(self) -> None:
        """Write when keys and logins were last used since the last call; once a minute is enough, off the event loop.

        Raises Unavailable, and what was noted until then is forgotten.
        """
        uses, self._uses = self._uses, {}
        logins, self._logins = self._logins, {}
        # Copied in one step, since another thread may be about to note a use in it.
        touch_keys(self._metadata, {key: datetime.fromtimestamp(used, UTC) for key, used in dict(uses).items()})
        touch_logins(self._metadata, {key: datetime.fromtimestamp(used, UTC) for key, used in dict(logins).items()})

    def __len__(self) -> int:
        return len(self._entries)

    def _hit(self, digest: bytes, now: float) -> Key | None:
        entry = self._entries.get(digest)
        if entry is None or entry.revision != self._revision.read() or now >= entry.valid_until:
            return None
        self._note(entry.key, now)
        return entry.key

    def _note(self, key: Key, now: float) -> None:
        if key.kind == "key":
            self._uses[key.id] = now
        elif key.kind == "login":
            self._logins[key.id] = now

    def _load(self, digest: bytes, now: float, find: Callable[[datetime], _Found | None]) -> Key | None:
        # Read before the row: a change that lands between the two leaves an entry that the next call already refuses.
        revision = self._revision.read()
        found = find(datetime.fromtimestamp(now, UTC))
        with self._lock:
            self._entries.pop(digest, None)
            if found is None:
                return None
            key, expires_at = found
            valid_until = now + FRESH_SECONDS
            if expires_at is not None:
                valid_until = min(valid_until, expires_at.timestamp())
            self._entries[digest] = _Entry(key, revision, valid_until)
            if len(self._entries) > self._capacity:
                self._entries.popitem(last=False)
            self._note(key, now)
        return key

    def _find(self, secret: str | bytes, now: datetime) -> _Found | None:
        raw = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
        if self._tokens is not None and looks_like_token(raw):
            told = self._tokens.read(raw)
            return None if told is None else login_key(self._metadata, told.login_id, told.surface, now)
        record = find_record(self._metadata, secret, now)
        return None if record is None else (record.key, record.expires_at)

    def _find_token(self, token: str) -> _Found | None:
        if not (token.isascii() and token.isprintable()):
            return None
        project = find_project(self._metadata, "token", token.lower())
        if project is None:
            return None
        key = Key(project.site_id, Dialect.COHORLY, Scope.INGEST, project.account_id, project.id, "token")
        return key, None


def _token_digest(token: str) -> bytes:
    """Apart from that of a key of the same text: neither is good where the other is asked for."""
    return key_digest(f"token {token.lower()}")
