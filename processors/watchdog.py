"""A thread that ends the worker when its partitions stand still; the lake tells the next start where to go on."""

import asyncio
import logging
import os
import random
import threading
import time
from collections.abc import Callable

from processors.errors import Restart
from processors.identity import Log
from processors.worker import Worker

log = logging.getLogger(__name__)

PERIOD_SECONDS = 2.0
# A loop that does not end its process within this time is in the hands of what hangs: a line, say, that is
# decoded for ever.
GRACE_SECONDS = 10.0


class Watchdog:
    """Asks the broker how far the log reaches, tells the worker, and compares.

    It fires when a partition's log has moved on and its position has not, and when this worker
    has no partition although the group leaves some unread.
    """

    def __init__(
        self, view: Log, worker: Worker, group: str, seconds: float, die: Callable[[int], None] = os._exit
    ) -> None:
        self._view = view
        self._worker = worker
        self._group = group
        self._die = die
        # Workers that stall together should not restart together.
        self._seconds = seconds * (1 + random.random() / 4)
        self._stop = threading.Event()
        self._moved: dict[int, tuple[int, float]] = {}
        self._idle_since: float | None = None
        self._thread: threading.Thread | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch; `loop` is the worker's."""
        self._thread = threading.Thread(target=self._run, args=(loop,), name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the watch and leave the broker."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(15)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stop.wait(PERIOD_SECONDS):
            try:
                stuck = self._look(loop, time.monotonic())
            except Exception as error:  # the broker is away: nothing can be said, and nothing is stuck
                log.warning("watchdog cannot ask the broker", extra={"reason": str(error)})
                self._moved.clear()
                self._idle_since = None
                continue
            if stuck is not None:
                loop.call_soon_threadsafe(self._worker.end, Restart(stuck))
                if not self._stop.wait(GRACE_SECONDS):
                    log.critical("the worker hangs", extra={"reason": stuck})
                    self._die(Restart.exit_status)
        self._view.close()

    def _look(self, loop: asyncio.AbstractEventLoop, now: float) -> str | None:
        if (chain := self._view.chain()) != self._worker.flusher.events.chain:
            # A topic deleted and recreated between two rebalances: its offsets would look like old ones.
            return f"the log is another one now: {chain}"
        assigned = sorted(self._worker.assigned)
        for partition in assigned:
            end = self._view.range(partition).end
            loop.call_soon_threadsafe(self._worker.note_end, partition, end, time.time())
            owned = self._worker.owned.get(partition)
            position = owned.state.next if owned is not None else -1
            before, since = self._moved.get(partition, (position, now))
            # Beyond the end is as wrong as behind it, once both stand still.
            if position != before or position == end or self._worker.flusher.failing_since is not None:
                before, since = position, now
            self._moved[partition] = (before, since)
            if now - since > self._seconds:
                return f"partition {partition} stands at {position} while the log ends at {end}"
        if assigned:
            self._idle_since = None
            return None
        self._idle_since = self._idle_since or now
        if now - self._idle_since > self._seconds:
            if not self._view.is_assigned_elsewhere(self._group):
                return "no partition is assigned although the group leaves some unread"
            self._idle_since = now
        return None
