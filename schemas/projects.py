"""Projects, keys and roles as every layer knows them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

import msgspec


class Scope(StrEnum):
    """What a key may do; `sql` includes reading, `admin` includes everything."""

    INGEST = "ingest"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    SQL = "sql"

    def allows(self, needed: "Scope") -> bool:
        """Whether a key of this scope may do what needs `needed`."""
        return needed in _INCLUDED[self]


_INCLUDED: dict[Scope, frozenset[Scope]] = {
    Scope.INGEST: frozenset({Scope.INGEST}),
    Scope.READ: frozenset({Scope.READ}),
    Scope.SQL: frozenset({Scope.SQL, Scope.READ}),
    Scope.WRITE: frozenset({Scope.WRITE, Scope.READ, Scope.INGEST}),
    Scope.ADMIN: frozenset(Scope),
}


class Dialect(StrEnum):
    """The surface a key belongs to; a key works only there."""

    JCHT = "jcht"
    JETRACK = "jetrack"
    ZTA = "zta"
    COHORLY = "cohorly"
    OVYXA = "ovyxa"


class Role(StrEnum):
    """What a person may do in somebody's project; the account that owns it needs none to be its owner."""

    VIEWER = "viewer"
    MEMBER = "member"
    ADMIN = "admin"
    OWNER = "owner"

    def includes(self, needed: "Role") -> bool:
        """Whether this role is the needed one or stands above it."""
        return _RANKS[self] >= _RANKS[needed]


_RANKS: dict[Role, int] = {role: rank for rank, role in enumerate(Role)}


class ProjectSettings(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """What the owner of a project chose for it. Without days its events are kept as long as the lake keeps any."""

    exclude_paths: tuple[str, ...] = ()
    ignore_params: tuple[str, ...] = ()
    retention_days: int | None = None
    allowed_origins: tuple[str, ...] = ()


NO_SETTINGS = ProjectSettings()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Project:
    """A tenant: one row with a name for every dialect."""

    id: int
    account_id: int
    name: str
    domain: str
    timezone: str
    site_id: str
    website_id: str
    token: str
    public: bool = False
    settings: ProjectSettings = NO_SETTINGS
    created_at: datetime = _EPOCH
    # While it is in the trash: since when, and until when it can be restored.
    deleted_at: datetime | None = None
    purge_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """Who a presented credential turned out to be, whatever its kind; never the secret itself.

    `id` is that of the key, of the login, or of the site whose token it is. `account_id` is whose key it is, or who
    logged in. With a `project_id` it is good for that project only.
    """

    id: str
    dialect: Dialect
    scope: Scope
    account_id: int
    project_id: int | None
    kind: Literal["key", "login", "token"] = "key"
    # Limits of its own, the key's before the account's, as `requests/seconds` lists; else its surface's hold.
    rate_limit: str | None = None
    plan: str = "free"
    # The source it is the write key of: what it sends is from there, whatever an event says.
    source: str | None = None
