"""Puts into the outbox what webhooks are told of a flush, after its commit and beside the stream.

The step is the ninth of delivery (`flush.py` has those before it). A thread of its own does it, so that neither
filters nor the metadata database hold up a flush. Positions and messages move in one transaction, from where the
positions stood: whatever was committed to the lake and not told is read from there, and told once.
"""

import logging
import threading
from collections.abc import Mapping
from typing import Final, Protocol

from processors.faults import crash_point
from processors.triggers import Watch, notices_of, watches_of
from schemas.kept import Goal, Webhook
from storage import metrics
from storage.errors import StorageError
from storage.lake.columns import Chunk, of_partition
from storage.lake.commit import Span
from storage.meta.engine import Metadata
from storage.meta.kept import everywhere
from storage.meta.outbox import Moved, tell, told_positions
from storage.query.matching import matching, stored

log = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 5.0


class Telling(Protocol):
    """What a worker says of its commits."""

    def note(self, positions: Mapping[int, int], spans: Mapping[int, Span], rows: Chunk | None) -> None:
        """The lake holds these partitions up to these positions; `rows` are those of the spans. Never blocks."""

    def close(self, seconds: float) -> None:
        """Finish what is noted, if it takes no longer; safe to repeat."""


class Nothing:
    """Nobody is told."""

    def note(self, positions: Mapping[int, int], spans: Mapping[int, Span], rows: Chunk | None) -> None:
        """Never told."""

    def close(self, seconds: float) -> None:
        """Nothing to finish."""


class Teller:
    """One thread that follows the positions of one worker."""

    def __init__(self, metadata: Metadata, events_uri: str, chain: str, pause_seconds: float = _PAUSE_SECONDS) -> None:
        self._metadata = metadata
        self._uri = events_uri
        self._chain = chain
        self._pause = pause_seconds
        self._changed = threading.Condition()
        self._positions: dict[int, int] = {}
        self._spans: Mapping[int, Span] = {}
        self._rows: Chunk | None = None
        self._is_wanted = False
        self._is_busy = False
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="telling", daemon=True)
        self._thread.start()

    def note(self, positions: Mapping[int, int], spans: Mapping[int, Span], rows: Chunk | None) -> None:
        """The lake holds these partitions up to these positions; `rows` are those of the spans. Never blocks."""
        with self._changed:
            self._positions |= positions
            # Behind already: rows are not held for later, the lake has them.
            self._spans, self._rows = ({}, None) if self._is_wanted else (spans, rows)
            self._is_wanted = True
            self._changed.notify_all()

    def close(self, seconds: float) -> None:
        """Finish what is noted, if it takes no longer; safe to repeat."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._is_wanted or self._is_busy), seconds)
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_wanted or self._is_closing)
                if self._is_closing:
                    return
                positions, spans, rows = self._positions, self._spans, self._rows
                self._positions, self._spans, self._rows = {}, {}, None
                self._is_wanted, self._is_busy = False, True
            is_told = self._try(positions, spans, rows)
            with self._changed:
                self._is_busy = False
                if not is_told:
                    self._positions = positions | self._positions
                    self._spans, self._rows, self._is_wanted = {}, None, True
                    self._changed.wait_for(lambda: self._is_closing, self._pause)
                self._changed.notify_all()

    def _try(self, positions: Mapping[int, int], spans: Mapping[int, Span], rows: Chunk | None) -> bool:
        try:
            self._tell(positions, spans, rows)
        except Moved as error:  # a partition changed hands: its new owner tells it, or has already
            log.info("somebody else told webhooks", extra={"reason": str(error)})
            return False
        except StorageError as error:
            log.warning("webhooks wait for what is told", extra={"reason": str(error)})
            return False
        except Exception:
            metrics.count("streamgauge_alarms_total", kind="webhooks")
            log.exception("webhooks are not told")
            return False
        return True

    def _tell(self, positions: Mapping[int, int], spans: Mapping[int, Span], rows: Chunk | None) -> None:
        watches = self._watches()
        if not watches:  # whoever comes later is told nothing of before, so no position is needed
            return
        told = told_positions(self._metadata, self._chain)
        behind = {p: end for p, end in positions.items() if told.get(p, -1) < end}
        if not behind:
            return
        chunks: list[Chunk] = []
        missing: dict[int, tuple[int, int]] = {}
        for partition, end in behind.items():
            span, stood = spans.get(partition), told.get(partition)
            if rows is not None and span is not None and stood == span.held and span.next == end:
                chunks.append(of_partition(rows, partition, stood or 0, end))
            else:
                missing[partition] = (stood or 0, end)
        if missing:
            projects = sorted({watch.pattern.project for watch in watches})
            chunks += stored(self._uri, self._chain, missing, projects, min(w.pattern.since for w in watches))
        found, wrong = matching(chunks, list(dict.fromkeys(watch.pattern for watch in watches)))
        for pattern in wrong:
            log.warning("a goal cannot be matched", extra={"project": pattern.project})
        notices = notices_of(self._chain, watches, found)
        crash_point("before F9")
        dropped = tell(self._metadata, self._chain, {p: (told.get(p), end) for p, end in behind.items()}, notices)
        crash_point("after F9")
        metrics.count("streamgauge_webhook_messages_total", len(notices) - dropped, outcome="waiting")
        metrics.count("streamgauge_webhook_messages_total", dropped, outcome="dropped")

    def _watches(self) -> list[Watch]:
        webhooks = everywhere(self._metadata, Webhook)
        if not webhooks:
            return []
        return watches_of(webhooks, everywhere(self._metadata, Goal))
