"""Keys resolved from memory, dropped as soon as any process of the host changes one."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Final

from schemas.projects import Key
from storage.meta.engine import Metadata
from storage.meta.keys import find_record, touch_keys
from storage.meta.secrets import key_digest

# A revocation on another host holds after this long; shorter costs each live key one more query.
FRESH_SECONDS: Final = 30.0
# About 1 KB an entry; beyond it the one read longest ago is dropped.
CAPACITY: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Entry:
    key: Key
    revision: int
    valid_until: float


class KeyCache:
    """Secret to key. `peek` only reads memory, `resolve` may query and block; any thread may call both.

    Only live keys are kept, under the hash of their secret. An unknown one is looked up each time, so that a new key
    works at once.
    """

    def __init__(self, metadata: Metadata, clock: Callable[[], float] = time.time, capacity: int = CAPACITY) -> None:
        self._metadata = metadata
        self._revision = metadata.key_revision
        self._clock = clock
        self._capacity = capacity
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._uses: dict[str, float] = {}
        self._lock = Lock()

    def peek(self, secret: str | bytes) -> Key | None:
        """The key if it is in memory and still known to hold; None says nothing about it."""
        return self._hit(key_digest(secret), self._clock())

    def resolve(self, secret: str | bytes) -> Key | None:
        """The key, or None if it is unknown, expired or revoked; raises Unavailable."""
        digest = key_digest(secret)
        now = self._clock()
        return self._hit(digest, now) or self._load(secret, digest, now)

    def store_uses(self) -> None:
        """Write when keys were last used since the last call; once a minute is enough, off the event loop.

        Raises Unavailable, and what was noted until then is forgotten.
        """
        uses, self._uses = self._uses, {}
        # Copied in one step, since another thread may be about to note a use in it.
        touch_keys(self._metadata, {key: datetime.fromtimestamp(used, UTC) for key, used in dict(uses).items()})

    def __len__(self) -> int:
        return len(self._entries)

    def _hit(self, digest: bytes, now: float) -> Key | None:
        entry = self._entries.get(digest)
        if entry is None or entry.revision != self._revision.read() or now >= entry.valid_until:
            return None
        self._uses[entry.key.id] = now
        return entry.key

    def _load(self, secret: str | bytes, digest: bytes, now: float) -> Key | None:
        # Read before the row: a change that lands between the two leaves an entry that the next call already refuses.
        revision = self._revision.read()
        record = find_record(self._metadata, secret, datetime.fromtimestamp(now, UTC))
        with self._lock:
            self._entries.pop(digest, None)
            if record is None:
                return None
            valid_until = now + FRESH_SECONDS
            if record.expires_at is not None:
                valid_until = min(valid_until, record.expires_at.timestamp())
            self._entries[digest] = _Entry(record.key, revision, valid_until)
            if len(self._entries) > self._capacity:
                self._entries.popitem(last=False)
            self._uses[record.key.id] = now
        return record.key
