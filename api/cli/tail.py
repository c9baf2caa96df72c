"""`streamgauge tail`: accepted events, or refused items, as they come."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self

import typer

from api.cli.connection import resolve
from api.cli.options import DataDir, load
from api.cli.output import Failure, complain, note, say
from api.ingest.refusals import FILE_NAME
from api.log.consumer import LogReader, RefusalReader
from api.log.reading import LoggedEvent
from schemas.instants import format_millis
from schemas.live import Refusal
from storage.lake.place import Place, place_at
from storage.lake.tables import has_tables
from storage.meta.engine import open_metadata
from storage.meta.projects import list_projects, project_referred
from storage.query.deadletters import DeadLetterTail, StoredLetter
from storage.query.engine import EnginePolicy, QueryEngine
from storage.query.lake import Lake
from storage.settings import DataDirectory, StorageSettings

_POLL_SECONDS = 0.25
_MOST_NAMED = 20
# With more between a worker's word and the lake's, some are shown twice.
_MOST_SHOWN = 100_000
_MEMORY_BYTES = 128 * 1024 * 1024


def tail(
    project: Annotated[str | None, typer.Option(help="Only this project: its number, site id or name.")] = None,
    rejects: Annotated[bool, typer.Option("--rejects", help="Refused items with their reasons instead.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show accepted events as they come, one JSON object a line, until Ctrl-C.

    With --rejects: what the door refuses and what the workers cannot read, within a second. Of a flood a part is shown
    at once, and the rest when it is in the lake (a flush later, 5 s at most by default).
    """
    settings = resolve(load(StorageSettings, data_dir))
    wanted = None if project is None else project_number(settings, project)
    for line in refused(settings) if rejects else accepted(settings):
        if wanted in (None, line["project"]):
            say(json.dumps(line, ensure_ascii=False))


def accepted(settings: StorageSettings) -> Iterator[dict[str, Any]]:
    """Accepted events, for ever."""
    reader = LogReader(settings.librdkafka(), settings.kafka_topic)
    is_waiting = False
    for logged in reader.follow(complain):
        if not is_waiting:
            is_waiting = True
            note("waiting for events; Ctrl-C ends")
        if logged is not None:
            yield event_line(logged)


def refused(settings: StorageSettings) -> Iterator[dict[str, Any]]:
    """Refused items, for ever."""
    with (
        RefusalReader(settings.librdkafka(), settings.kafka_live_topic) as told,
        RejectTail(settings.directory, place_at(settings.lake_place), told.fresh) as tail,
    ):
        note("waiting for refused items; Ctrl-C ends")
        while True:
            yield from tail.fresh()
            time.sleep(_POLL_SECONDS)


def project_number(settings: StorageSettings, reference: str) -> int:
    """The project that a number, a site or website id, or a name means."""
    with open_metadata(settings.metadata_url, settings.directory.key_revision) as metadata:
        if (found := project_referred(metadata, reference)) is not None:
            return found.id
        projects = list_projects(metadata, None)
    named = [project for project in projects if project.name == reference]
    if len(named) == 1:
        return named[0].id
    known = ", ".join(f"{project.name} ({project.id})" for project in named or projects[:_MOST_NAMED]) or "none"
    if named:
        raise Failure(f"several projects are called {reference!r}: {known}; name one by its number")
    raise Failure(f"there is no project {reference!r}; there are: {known}")


class RejectTail:
    """Refused items of the door and of the workers that come after it was made, each once; close it."""

    def __init__(self, directory: DataDirectory, lake: Place, told: Callable[[], list[Refusal]]) -> None:
        """`told` gives what the workers have refused and may not have committed yet."""
        if not has_tables(lake):
            raise Failure(f"there is no lake at {lake}: run `streamgauge up` first, or name --data-dir")
        self._door = RefusalTail(directory.logs / FILE_NAME)
        self._told = told
        # The places of those that were shown, the oldest first.
        self._shown: dict[tuple[int, int, int], None] = {}
        self._letters = DeadLetterTail(Lake(lake))
        self._engine = QueryEngine(lake, EnginePolicy(threads=1, memory_bytes=_MEMORY_BYTES))
        self.fresh()

    def fresh(self) -> list[dict[str, Any]]:
        """What came since the last call."""
        told = self._told()
        letters = self._engine.submit(self._letters.fresh).result()
        found: list[Refusal | StoredLetter] = [*told, *letters]
        return self._door.fresh() + [letter_line(one) for one in found if self._is_new(one)]

    def _is_new(self, one: Refusal | StoredLetter) -> bool:
        """It is told by the worker, again by one that starts anew, and then it stands in the lake."""
        place = (one.partition, one.offset, one.index)
        if place in self._shown:
            return False
        self._shown[place] = None
        if len(self._shown) > _MOST_SHOWN:
            del self._shown[next(iter(self._shown))]
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._engine.close()


def event_line(logged: LoggedEvent) -> dict[str, Any]:
    """What is shown of an event."""
    event = logged.event
    return {
        "at": format_millis(logged.received),
        "project": logged.project,
        "eventId": logged.event_id,
        "event": event.event,
        "userId": event.user_id,
        "timestamp": event.timestamp,
        "properties": event.properties or {},
        "source": event.source or logged.source,
        "partition": logged.partition,
        "offset": logged.offset,
        "index": logged.index,
    }


def letter_line(letter: StoredLetter | Refusal) -> dict[str, Any]:
    """What is shown of a dead letter."""
    return {
        "at": format_millis(letter.received),
        "project": letter.project,
        "index": letter.index,
        "reason": letter.reason,
        "message": letter.detail,
        "partition": letter.partition,
        "offset": letter.offset,
    }


class RefusalTail:
    """New lines of the door's file from its end on, also after it was replaced by a new one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode, self._at = self._look()

    def fresh(self) -> list[dict[str, Any]]:
        """Lines that came since the last call."""
        inode, size = self._look()
        if inode != self._inode or size < self._at:
            self._inode, self._at = inode, 0
        if size == self._at:
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            whole, _, _ = file.read().rpartition(b"\n")
        self._at += len(whole) + 1 if whole else 0
        return [json.loads(line) for line in whole.splitlines()]

    def _look(self) -> tuple[int, int]:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return 0, 0
        return status.st_ino, status.st_size
