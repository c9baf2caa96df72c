"""Who was erased from the lake, and when: a property of the events table that every commit of rows is fenced by.

A change of a table's properties refuses each append that did not see it, so a worker that compares the list
on the handle it commits with can never bring an erased person back (docs/decisions/0007-erasure.md).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from deltalake import DeltaTable

PROPERTY = "streamgauge.erased"
# Longer than any log keeps what was received before: nobody can bring the person back then.
KEPT_DAYS = 90
_KEPT_MILLIS = KEPT_DAYS * 86_400_000


@dataclass(frozen=True, slots=True)
class Erased:
    """Hashes of the erased people, each with the unix ms up to which what was received of them is not kept."""

    until: Mapping[str, int] = field(default_factory=dict)
    newest: int = -1  # of `until`: nothing later needs a look

    @classmethod
    def of(cls, until: Mapping[str, int]) -> "Erased":
        return cls(until, max(until.values(), default=-1))

    def covers(self, project: int, distinct_id: str, received: int) -> bool:
        """Whether what was received of a person at this unix ms is erased."""
        if received > self.newest:
            return False
        listed = (self.until.get(_key(project, who)) for who in (distinct_id, None))
        return any(until is not None and received <= until for until in listed)

    def with_person(self, project: int, distinct_id: str | None, at: int) -> "Erased":
        """The list with one more person, or with all of a project, without those whom no log holds any more."""
        kept = {key: until for key, until in self.until.items() if until > at - _KEPT_MILLIS}
        return Erased.of(kept | {_key(project, distinct_id): at})

    def merged(self, other: "Erased") -> "Erased":
        """Everybody who is on either list."""
        return Erased.of(
            {key: max(self.until.get(key, -1), other.until.get(key, -1)) for key in {*self.until, *other.until}}
        )


def erased_of(table: DeltaTable) -> Erased:
    """The list as of a handle's version."""
    text = table.metadata().configuration.get(PROPERTY)
    return Erased.of(json.loads(text)) if text else Erased()


def as_properties(erased: Erased) -> dict[str, str]:
    """What to set of a table."""
    return {PROPERTY: json.dumps(dict(erased.until), sort_keys=True)}


def _key(project: int, distinct_id: str | None) -> str:
    """Not the id itself: the list outlives the person's rows."""
    meant = f"{project}" if distinct_id is None else f"{project}:{distinct_id}"
    return hashlib.sha256(meant.encode()).hexdigest()[:32]
