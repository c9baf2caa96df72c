"""Who is who: the ids that aliases made one person, followed through the versions of the lake."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

from schemas.people import ALIAS, ALIAS_UNDO, AliasChange
from storage.lake.views import READ_OPTIONS
from storage.query.engine import Cursor
from storage.query.lake import Lake

# The names lie beside each other, so that statistics of files tell which may hold them: few do.
_CANDIDATES = f"event >= '{ALIAS}' AND event <= '{ALIAS_UNDO}'"
_OPS = f"""
SELECT filename, project_id, distinct_id, event = '{ALIAS_UNDO}', properties,
    (epoch_ms(received_at), kafka_log, kafka_partition, kafka_offset, record_index)
FROM read_parquet(?, {READ_OPTIONS}, filename=true) WHERE event IN ('{ALIAS}', '{ALIAS_UNDO}')
"""
NO_ALIASES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, order=True)
class Identification:
    """One entry of the log of aliases, in the order of that log."""

    place: tuple[int, str, int, int, int]
    alias: str = field(compare=False)
    person: str = field(compare=False)
    is_undo: bool = field(default=False, compare=False)


def resolve(log: Sequence[Identification]) -> dict[str, str]:
    """The person of every id that is not a person's own. Pure.

    The alias and all that were one with it join the person named, who keeps their id.
    """
    live: list[Identification] = []
    for entry in sorted(log):
        if entry.is_undo:
            live = [made for made in live if (made.alias, made.person) != (entry.alias, entry.person)]
        else:
            live.append(entry)
    persons: dict[str, str] = {}
    for entry in live:
        alias, person = _root(persons, entry.alias), _root(persons, entry.person)
        if alias != person:
            persons[alias] = person
    return {known: _root(persons, known) for known in persons}


def _root(persons: Mapping[str, str], known: str) -> str:
    while known in persons:
        known = persons[known]
    return known


class Identities:
    """The aliases of every project as of the newest version. Thread-safe; looks only at files it has not seen."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._lock = threading.Lock()
        self._logs: dict[str, Mapping[int, Sequence[Identification]]] = {}  # by file
        self._resolved: dict[int, Mapping[str, str]] = {}

    def of(self, cursor: Cursor, project: int) -> Mapping[str, str]:
        """The person of each id of the project that is not their own; the same object while nothing changed."""
        files = self._lake.snapshot("events", _CANDIDATES).files
        with self._lock:
            if self._logs.keys() != set(files):
                self._follow(cursor, files)
            if (known := self._resolved.get(project)) is None:
                log = [entry for by_project in self._logs.values() for entry in by_project.get(project, ())]
                known = self._resolved[project] = MappingProxyType(resolve(log)) if log else NO_ALIASES
            return known

    def _follow(self, cursor: Cursor, files: Sequence[str]) -> None:
        held = self._logs
        new = [file for file in files if file not in held]
        read: dict[str, dict[int, list[Identification]]] = {file: {} for file in new}
        for file, project, person, is_undo, properties, place in cursor.rows(_OPS, [new]) if new else ():
            try:
                change = msgspec.json.decode(properties, type=AliasChange)
            except msgspec.MsgspecError:
                continue  # an event of that name that says no alias changes nobody
            entry = Identification(place, change.alias, person, is_undo)
            if person:
                read[file].setdefault(project, []).append(entry)
        self._logs = {file: held[file] if file in held else read[file] for file in files}
        changed = {project for file in [*new, *(held.keys() - set(files))] for project in (read | held).get(file, {})}
        self._resolved = {project: known for project, known in self._resolved.items() if project not in changed}
