"""How often a partition was started at the same position: whatever kills its worker may lie just behind."""

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from processors.decode import LogRecord
from processors.poison import Poison
from processors.trial import Trial
from schemas.events import EventLimits

log = logging.getLogger(__name__)

# So many starts without progress are no accident of the machine.
SUSPICIOUS = 3


@dataclass(frozen=True, slots=True)
class Attempts:
    """`run/attempts/<partition>.json`, shared by all workers: who comes next knows what befell the one before."""

    directory: Path

    def start(self, chain: str, partition: int, position: int, end: int) -> int:
        """Note a start at a position; how many starts before it came no further.

        A start at the end of the log is none: there is nothing to die of.
        """
        path = self.directory / f"{partition}.json"
        if position >= end:
            path.unlink(missing_ok=True)
            return 0
        place = {"log": chain, "start": position}
        before = _read(path)
        count = before.get("n", 0) + 1 if place.items() <= before.items() else 0
        self._write(path, place | {"n": count})
        return count

    def _write(self, path: Path, noted: dict[str, object]) -> None:
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            aside = path.with_suffix(f".{os.getpid()}.tmp")
            aside.write_text(json.dumps(noted))
            aside.replace(path)
        except OSError as error:  # a full disk must not keep a partition from going on
            log.warning("cannot note a start", extra={"reason": str(error)})


def _read(path: Path) -> dict[str, int]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("n"), int) else {}


@dataclass(frozen=True, slots=True)
class PoisonRule:
    """After starts without progress, what a worker would take next is tried in a process of its own first."""

    attempts: Attempts
    limits: EventLimits
    most_bytes: int  # what may be taken before a flush: the deadly line lies within

    def examine(
        self, chain: str, partition: int, start: int, end: int, read: Callable[[int, int, int], Iterable[LogRecord]]
    ) -> Poison:
        """The lines between two offsets that must not be decoded; looks only where there is a suspicion."""
        count = self.attempts.start(chain, partition, start, end)
        if count < SUSPICIOUS:
            return {}
        place = {"partition": partition, "offset": start, "starts": count}
        log.warning("looking for a record that kills its worker", extra=place)
        with Trial(self.limits) as trial:
            return trial.poison(_first(read(partition, start, end), self.most_bytes))


def _first(records: Iterable[LogRecord], most_bytes: int) -> Iterator[LogRecord]:
    size = 0
    for record in records:
        yield record
        size += len(record.value or b"")
        if size > most_bytes:
            return
