"""What a worker reads before it takes a partition's first record: position, identity, keys, ids.

Runs in the lake thread. The lake says where to go on; the log must still be the one it speaks of.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from processors.attempts import PoisonRule
from processors.decode import LogRecord
from processors.duplicates import DuplicateWindow
from processors.errors import NeedsPerson, Restart
from processors.flush import Flusher, Stored
from processors.identity import LogRange
from processors.poison import Poison
from schemas.deadletters import DeadLetter, Reason
from storage import metrics
from storage.lake import recent
from storage.lake.commit import Span
from storage.lake.deadletters import dead_letters_table
from storage.lake.erased import Erased, erased_of
from storage.lake.tables import EVENTS

log = logging.getLogger(__name__)

# Watermarks lag behind a broker that has just come back.
_END_TRIES = 10
_END_PAUSE_SECONDS = 1.0


class LogView(Protocol):
    """What loading asks of the log (processors.identity.Log)."""

    def chain(self) -> str:
        """The log's identity."""

    def range(self, partition: int) -> LogRange:
        """Readable offsets."""

    def fingerprint(self, partition: int, offset: int) -> tuple[int, int, int] | None:
        """(offset, timestamp, CRC-32) of the first record at or after an offset."""

    def read(self, partition: int, start: int, end: int) -> Iterable[LogRecord]:
        """The records with start <= offset < end that there are."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Where a partition starts, and what binds its accept rule."""

    next: int
    rejected: frozenset[tuple[int, int]]
    window: DuplicateWindow
    poison: Poison
    erased: Erased


@dataclass(frozen=True, slots=True)
class WindowPolicy:
    """How long and how many event ids are remembered."""

    seconds: int
    rows: int


def load(
    flusher: Flusher,
    view: LogView,
    partition: int,
    windows: WindowPolicy,
    poison: PoisonRule | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Loaded:
    """Fresh handles, identity check, catch-up of the rollups, poisonous lines, and the window of recent ids."""
    if (chain := view.chain()) != flusher.events.chain:
        raise Restart(f"the log is another one now: {chain}, was {flusher.events.chain}")
    for table in (flusher.events, flusher.dead_letters, flusher.rollups):
        table.reload()
    if not flusher.stored:
        flusher.erased = erased_of(flusher.events.table)
    stored = flusher.read_stored(partition)
    flusher.stored[partition] = stored
    extent = view.range(partition)
    if stored.held is None:
        _first_start(flusher, partition, extent)
        stored.totals["first"] = extent.start
    else:
        extent = _check_end(view, partition, stored, extent, pause)
        _check_last(flusher, view, partition, stored.held, extent)
        flusher.roll_up({partition: Span(stored.held, stored.held)}, None)
    start = stored.held if stored.held is not None else extent.start
    if extent.start > start:
        skip(flusher, partition, start, extent.start, "gap")
        start = extent.start
    window = DuplicateWindow(windows.seconds, windows.rows)
    window.load(recent.recent_ids(flusher.events, partition, windows.seconds, windows.rows))
    deadly = _poison(flusher, view, partition, start, extent.end, poison)
    return Loaded(start, frozenset(stored.keys), window, deadly, flusher.erased)


def _poison(flusher: Flusher, view: LogView, partition: int, start: int, end: int, rule: PoisonRule | None) -> Poison:
    if rule is None:
        return {}
    flusher.last_error, flusher.failing_since = "looking for a record that kills its worker", time.monotonic()
    try:  # told as a failing flush, so that neither the watchdog nor readiness takes the wait for something else
        return rule.examine(flusher.events.chain, partition, start, end, view.read)
    except OSError as error:
        raise Restart(f"cannot try the records of partition {partition}: {error}") from error
    finally:
        flusher.last_error = flusher.failing_since = None


def _first_start(flusher: Flusher, partition: int, extent: LogRange) -> None:
    if flusher.events.table.version() > 0 and not flusher.is_known_chain():
        metrics.count("streamgauge_alarms_total", kind="new log")
        log.error(
            "the lake has rows of another log; this one is read from its start",
            extra={"chain": flusher.events.chain, "partition": partition, "offset": extent.start},
        )


def _check_end(
    view: LogView, partition: int, stored: Stored, extent: LogRange, pause: Callable[[float], None]
) -> LogRange:
    held = stored.held or 0
    for _ in range(_END_TRIES):
        if held <= extent.end:
            return extent
        pause(_END_PAUSE_SECONDS)
        extent = view.range(partition)
    metrics.count("streamgauge_alarms_total", kind="log went back")
    raise NeedsPerson(
        f"partition {partition}: the lake has read up to {held}, but the log ends at {extent.end}; "
        "the log was restored or truncated"
    )


def _check_last(flusher: Flusher, view: LogView, partition: int, held: int, extent: LogRange) -> None:
    """The record before the position must be the one that was read, if the log still has it."""
    crc = flusher.events.total(partition, "last_crc")
    timestamp = flusher.events.total(partition, "last_ts")
    if timestamp == 0 or not extent.start <= held - 1 < extent.end:
        return
    found = view.fingerprint(partition, held - 1)
    if found is None or found[0] != held - 1:
        return  # compacted away or a transaction marker: nothing to compare
    if found[1:] != (timestamp, crc):
        metrics.count("streamgauge_alarms_total", kind="other content")
        raise NeedsPerson(f"partition {partition}: the record at {held - 1} is not the one that was read")


def skip(flusher: Flusher, partition: int, start: int, end: int, reason: Reason) -> None:
    """Record offsets that cannot be read any more (`gap`) or never held data (`void`), and move past them."""
    stored = flusher.stored[partition]
    if reason == "gap":
        metrics.count("streamgauge_gaps_total", end - start)
        metrics.count("streamgauge_alarms_total", kind="gap")
        log.error(
            "the log lost records before they were read", extra={"partition": partition, "from": start, "to": end}
        )
    letter = DeadLetter(
        partition, start, -1, reason, json.dumps({"from": start, "to": end}).encode(), int(time.time() * 1000)
    )
    if (start, -1) not in stored.keys:
        span = Span(stored.dead_letters_held, max(stored.dead_letters_held or 0, end))
        if (
            refused := flusher.dead_letters.append(dead_letters_table([letter]), {partition: span}, {}, reason)
        ) is not None:
            raise Restart(f"cannot record a {reason}: {refused.reason}")
        stored.dead_letters_held = span.next
        stored.keys.add((start, -1))
    totals = dict(stored.totals)
    totals["gaps"] = totals.get("gaps", 0) + end - start
    app = flusher.events.app(partition)
    refused = flusher.events.append(
        EVENTS.empty_table(),
        {partition: Span(stored.held, end)},
        {f"{app}#{name}": value for name, value in totals.items()},
        reason,
    )
    if refused is not None:
        raise Restart(f"cannot move past a {reason}: {refused.reason}")
    stored.totals = totals
    stored.held = end
    flusher.roll_up({partition: Span(None, end)}, None)
