"""Projects and keys as every layer knows them."""

from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(frozen=True, slots=True)
class Key:
    """What a presented credential turned out to be; never the secret itself."""

    id: str
    dialect: Dialect
    scope: Scope
    account_id: int
    project_id: int | None
