"""`streamgauge tail`: accepted events, or refused items, as they come."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self

import typer

from api.cli.connection import resolve
from api.cli.options import DataDir, load
from api.cli.output import Failure, note, say
from api.ingest.refusals import FILE_NAME
from api.log.consumer import LogReader
from api.log.reading import LoggedEvent
from schemas.instants import format_millis
from storage.lake.place import Place, place_at
from storage.lake.tables import has_tables
from storage.query.deadletters import DeadLetterTail, StoredLetter
from storage.query.engine import EnginePolicy, QueryEngine
from storage.query.lake import Lake
from storage.settings import DataDirectory, StorageSettings

_POLL_SECONDS = 0.25
_MEMORY_BYTES = 128 * 1024 * 1024


def tail(
    project: Annotated[int | None, typer.Option(help="Only this project (its number).")] = None,
    rejects: Annotated[bool, typer.Option("--rejects", help="Refused items with their reasons instead.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show accepted events as they come, one JSON object a line, until Ctrl-C.

    With --rejects: what the door refuses at once, and what the workers could not read, once it is in the lake
    (a flush later, 5 s at most by default).
    """
    settings = load(StorageSettings, data_dir)
    for line in refused(settings) if rejects else accepted(resolve(settings)):
        if project in (None, line["project"]):
            say(json.dumps(line, ensure_ascii=False))


def accepted(settings: StorageSettings) -> Iterator[dict[str, Any]]:
    """Accepted events, for ever."""
    note("waiting for events; Ctrl-C ends")
    for logged in LogReader(settings.librdkafka(), settings.kafka_topic).follow():
        if logged is not None:
            yield event_line(logged)


def refused(settings: StorageSettings) -> Iterator[dict[str, Any]]:
    """Refused items, for ever."""
    with RejectTail(settings.directory, place_at(settings.lake_place)) as tail:
        note("waiting for refused items; Ctrl-C ends")
        while True:
            yield from tail.fresh()
            time.sleep(_POLL_SECONDS)


class RejectTail:
    """Refused items of the door and dead letters of the workers that come after it was made; close it."""

    def __init__(self, directory: DataDirectory, lake: Place) -> None:
        if not has_tables(lake):
            raise Failure(f"there is no lake at {lake}: run `streamgauge up` first, or name --data-dir")
        self._door = RefusalTail(directory.logs / FILE_NAME)
        self._letters = DeadLetterTail(Lake(lake))
        self._engine = QueryEngine(lake, EnginePolicy(threads=1, memory_bytes=_MEMORY_BYTES))
        self.fresh()

    def fresh(self) -> list[dict[str, Any]]:
        """What came since the last call."""
        letters = self._engine.submit(self._letters.fresh).result()
        return self._door.fresh() + [letter_line(letter) for letter in letters]

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


def letter_line(letter: StoredLetter) -> dict[str, Any]:
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
