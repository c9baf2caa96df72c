"""The order of delivery, written once. Everything here runs in the lake thread, one call at a time.

F1 freeze    the caller hands over a batch; later records go to the next one
F2 build     columns sorted, totals and spans from the same batch
F3 reject    dead letters, only if there are any: durable before the position passes them
F4 COMMIT    rows, positions and totals of every partition: the one commit point
F5 rollup    partials, or what is missing computed again from the rows
F6 barrier   fsync of what F3-F5 wrote
F7 fold      positions and totals move
F8 kafka     the caller commits the offsets: a cache, so that lag tools work
F9 tell      what webhooks wait for goes to the outbox, in a thread of its own (`telling.py`)
"""

import json
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from processors.batch import Batch
from processors.errors import NeedsPerson, Restart
from processors.faults import crash_point
from schemas.deadletters import DeadLetter
from storage import metrics
from storage.errors import LakeBroken, LakeUnreadable
from storage.lake import recent, rollups
from storage.lake.columns import Chunk, from_position, merged
from storage.lake.commit import FencedTable, Span, Unclear
from storage.lake.deadletters import dead_letters_table
from storage.lake.erased import Erased, erased_of

log = logging.getLogger(__name__)

TOTALS = ("first", "lines", "rows", "rejects", "duplicates", "erased", "gaps")
# Retries back off to this; a lake that is away for half a minute makes the worker unready, not dead.
_LONGEST_PAUSE_SECONDS = 5.0


class Barrier(Protocol):
    """Makes what was committed survive a power loss; raises OSError when it cannot."""

    def sync(self, table: FencedTable) -> None:
        """Flush everything up to the table's version to the disk."""


@dataclass(slots=True)
class Stored:
    """What the lake says of one partition, as loaded or last written by this worker."""

    held: int | None
    dead_letters_held: int | None
    totals: dict[str, int]
    keys: set[tuple[int, int]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Flushed:
    """The outcome of a flush: durable positions, partitions whose owner must load again, and what was written."""

    positions: dict[int, int]
    reload: frozenset[int]
    spans: Mapping[int, Span]
    rows: Chunk


class Flusher:
    """The three tables as one worker writes them, and what it holds of each partition."""

    def __init__(
        self, events: FencedTable, dead_letters: FencedTable, rollup_table: FencedTable, barrier: Barrier
    ) -> None:
        self.events = events
        self.dead_letters = dead_letters
        self.rollups = rollup_table
        self.barrier = barrier
        self.stored: dict[int, Stored] = {}
        self.erased = Erased()  # what every owned partition was loaded with
        self.failing_since: float | None = None
        self.last_error: str | None = None
        self.deadline: float | None = None  # monotonic seconds, set by the worker while it revokes or stops

    def flush(self, batch: Batch) -> Flushed | None:
        """F2 to F7. None: the deadline (monotonic seconds) passed first, or somebody was erased whom the batch may
        hold; nothing is lost, its records must be read again.

        Raises Restart when the lake went back, NeedsPerson when it is broken.
        """
        started = time.monotonic()
        attempt = 0
        reload: set[int] = set()
        while True:
            crash_point("before F2")
            if erased_of(self.events.table) != self.erased:
                self.stored.clear()
                return None
            rebased = self._rebase(batch, reload)
            # In place of what it is made of, which would double the memory of a flush. What is left out of it now is
            # left out by every later attempt.
            batch.chunks = [rebased.rows]
            try:
                refused = self._write(rebased) if rebased.spans else None
            except LakeBroken as error:
                raise NeedsPerson(str(error)) from error
            if refused is None:
                break
            attempt += 1
            self._refused(refused)
            if not self._pause(attempt):
                return None
            reload |= self._settle(batch)
        self.failing_since = self.last_error = None
        metrics.observe("streamgauge_flush_seconds", time.monotonic() - started)
        metrics.count("streamgauge_rows_total", rebased.rows.num_rows)
        metrics.count("streamgauge_duplicates_total", rebased.duplicates)
        for letter in rebased.rejects:
            metrics.count("streamgauge_dead_letters_total", reason=letter.reason)
        positions = {p: stored.held for p, stored in self.stored.items() if stored.held is not None and p not in reload}
        return Flushed(positions, frozenset(reload), rebased.spans, rebased.rows)

    def forget(self, partition: int) -> None:
        """The partition is somebody else's now."""
        self.stored.pop(partition, None)

    # -- F2 -----------------------------------------------------------------------------------

    def _rebase(self, batch: Batch, skip: set[int]) -> "_Rebased":
        """The part of the batch that the held positions do not cover."""
        spans: dict[int, Span] = {}
        totals: dict[str, int] = {}
        after: dict[int, dict[str, int]] = {}
        duplicates = 0
        chunks = batch.chunks
        for partition in batch.partitions:
            stored = self.stored.get(partition)
            if stored is None or partition in skip:
                chunks = [from_position(chunk, partition, 2**62) for chunk in chunks]
                continue
            held = stored.held or 0
            counts = [c for c in batch.counts if c.partition == partition and c.offset >= held]
            if len(counts) < sum(c.partition == partition for c in batch.counts):
                chunks = [from_position(chunk, partition, held) for chunk in chunks]
            if not counts:
                continue
            last = counts[-1]
            expected = held if stored.held is not None else stored.totals.get("first", 0)
            if counts[0].offset != expected or last.offset - expected + 1 != len(counts):
                # The position must never move past a record that is not in the batch, nor over one that is in it twice.
                raise Restart(f"partition {partition}: the batch does not continue position {expected}")
            spans[partition] = Span(stored.held, last.offset + 1)
            grown = dict(stored.totals)
            for name in ("lines", "rows", "rejects", "duplicates", "erased"):
                grown[name] = grown.get(name, 0) + sum(getattr(c, name) for c in counts)
            after[partition] = grown
            duplicates += sum(c.duplicates for c in counts)
            app = self.events.app(partition)
            totals |= {f"{app}#{name}": value for name, value in grown.items()}
            totals |= {f"{app}#last_ts": last.timestamp, f"{app}#last_crc": last.crc}
        rejects = [
            letter
            for letter in batch.rejects
            if letter.partition in spans and letter.offset >= (spans[letter.partition].held or 0)
        ]
        return _Rebased(merged(chunks), rejects, spans, totals, after, duplicates)

    # -- F3 to F7 -----------------------------------------------------------------------------

    def _write(self, batch: "_Rebased") -> Unclear | None:
        note = json.dumps({"spans": {p: [s.held, s.next] for p, s in batch.spans.items()}})
        if batch.rejects and (refused := self._reject(batch, note)) is not None:
            return refused
        crash_point("before F4")
        started = time.monotonic()
        if (refused := self.events.append(batch.rows, batch.spans, batch.totals, note)) is not None:
            return refused
        metrics.observe("streamgauge_commit_seconds", time.monotonic() - started)
        crash_point("after F4")
        for partition, span in batch.spans.items():
            stored = self.stored[partition]
            stored.totals = batch.after[partition]
            stored.held = span.next
        self.roll_up(batch.spans, batch.rows)
        crash_point("before F6")
        self._sync(self.events)
        self._sync(self.rollups)
        crash_point("after F6")
        for partition, span in batch.spans.items():
            metrics.gauge("streamgauge_position_offset", span.next, partition=partition)
        return None

    def _reject(self, batch: "_Rebased", note: str) -> Unclear | None:
        """F3: append those whose place is not in the table yet; their position never goes down."""
        crash_point("before F3")
        letters: list[DeadLetter] = []
        spans: dict[int, Span] = {}
        for partition, span in batch.spans.items():
            stored = self.stored[partition]
            mine = [x for x in batch.rejects if x.partition == partition and (x.offset, x.index) not in stored.keys]
            if mine:
                letters += mine
                spans[partition] = Span(stored.dead_letters_held, max(stored.dead_letters_held or 0, span.next))
        if not letters:
            return None
        refused = self.dead_letters.append(dead_letters_table(letters), spans, {}, note)
        if refused is not None:
            self._read_keys_again(batch.spans)
            return refused
        for partition, span in spans.items():
            self.stored[partition].dead_letters_held = span.next
        for letter in letters:
            self.stored[letter.partition].keys.add((letter.offset, letter.index))
        self._sync(self.dead_letters)
        crash_point("after F3")
        return None

    def _read_keys_again(self, spans: Mapping[int, Span]) -> None:
        """The keys are older than what is there now: read them and the position, so that F3 can be repeated."""
        try:
            self.dead_letters.reload()
            for partition, span in spans.items():
                keys = recent.dead_letter_keys(self.dead_letters, partition, span.held or 0)
                stored = self.stored[partition]
                stored.dead_letters_held = self.dead_letters.position(partition)
                stored.keys |= keys
        except LakeUnreadable as error:  # what is held stays as old as its keys, so the fence still holds
            log.warning("cannot read the dead letters", extra={"reason": str(error)})

    def roll_up(self, spans: Mapping[int, Span], rows: Chunk | None) -> None:
        """F5: never back to F4; what fails here is caught up at the next flush or the next load."""
        for attempt in range(1, 6):
            crash_point("before F5")
            try:
                if rollups.catch_up(self.rollups, self.events, spans, rows) is None:
                    return
                self.rollups.reload()
            except LakeUnreadable as error:
                log.warning("cannot read the rows to roll up", extra={"reason": str(error)})
            metrics.count("streamgauge_commits_refused_total")
            self._pause(attempt)
        log.warning("rollups are behind", extra={"partitions": sorted(spans)})

    def _sync(self, table: FencedTable) -> None:
        try:
            self.barrier.sync(table)
        except OSError as error:
            # After a failed fsync the page cache may lie; only a fresh process knows what is on disk.
            raise Restart(f"cannot make the lake durable: {error}") from error

    # -- after a refusal ----------------------------------------------------------------------

    def _refused(self, refused: Unclear) -> None:
        metrics.count("streamgauge_commits_refused_total")
        log.warning("a commit was refused", extra={"reason": refused.reason})
        self.last_error = refused.reason
        if self.failing_since is None:
            self.failing_since = time.monotonic()

    def _pause(self, attempt: int) -> bool:
        """Back off with jitter; False when the deadline passes first."""
        pause = min(_LONGEST_PAUSE_SECONDS, 0.05 * 2**attempt) * (0.5 + random.random() / 2)
        until = time.monotonic() + pause
        while (left := until - time.monotonic()) > 0:
            if self.deadline is not None and until > self.deadline:
                return False
            time.sleep(min(left, 0.1))
        return True

    def _settle(self, batch: Batch) -> set[int]:
        """Compare what is held with what is there; returns partitions whose other owner is ahead of the batch."""
        try:
            found = self.events.settle(batch.partitions & self.stored.keys())
            self.dead_letters.reload()
            moved = {partition for partition, position in found.items() if position != self.stored[partition].held}
            fresh = {partition: self.read_stored(partition) for partition in moved}
        except (LakeUnreadable, OSError) as error:  # nothing is known, so nothing is dropped
            log.warning("cannot settle", extra={"reason": str(error)})
            return set()
        ends = {count.partition: count.offset + 1 for count in batch.counts}
        for partition, now in fresh.items():
            held = self.stored[partition].held
            if now.held is None or (held is not None and now.held < held):
                raise Restart(f"the lake went back: partition {partition} at {now.held}, held {held}")
        self.stored |= fresh
        # Whoever committed for us may have died before its rollups.
        self.roll_up({p: Span(None, now.held) for p, now in fresh.items() if now.held is not None}, None)
        return {partition for partition, now in fresh.items() if now.held is not None and now.held > ends[partition]}

    def is_known_chain(self) -> bool:
        """Whether any partition of this chain has a position."""
        return any(self.events.position(partition) is not None for partition in range(1024))

    def read_stored(self, partition: int) -> Stored:
        """Position, totals and dead-letter keys as the current handles know them."""
        held = self.events.position(partition)
        return Stored(
            held=held,
            dead_letters_held=self.dead_letters.position(partition),
            totals={name: self.events.total(partition, name) for name in TOTALS},
            keys=set(recent.dead_letter_keys(self.dead_letters, partition, held or 0)),
        )


@dataclass(frozen=True, slots=True)
class _Rebased:
    rows: Chunk
    rejects: list[DeadLetter]
    spans: dict[int, Span]
    totals: dict[str, int]
    after: dict[int, dict[str, int]]
    duplicates: int
