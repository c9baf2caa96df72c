"""The life of the maintenance process: ready, one task after another, an orderly end between two steps."""

import logging
import os
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from deltalake.exceptions import DeltaError

from storage import metrics
from storage.errors import StorageError
from storage.lake.durability import NotDurable
from storage.lake.place import place_at
from storage.lake.publication import Publisher
from storage.maintenance.maintainer import Maintainer
from storage.maintenance.schedule import Schedule
from storage.maintenance.settings import MaintenanceSettings
from storage.maintenance.vacuum import sweep_scratch

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
DISK_FAILED = 70  # the exit status of a process that a person must look at

# A loop runs in a thread of its own until the event is set.
Loop = Callable[[threading.Event], None]


def loops(settings: MaintenanceSettings) -> list[Loop]:
    """What cannot wait for its turn behind a long merge."""
    tables = place_at(settings.lake_place)
    return [Publisher(settings.directory.lake, settings.lake_shown_as, settings.lake_group_readable, tables).run]


def run(settings: MaintenanceSettings, name: str) -> None:
    """Maintain the lake until SIGTERM. Raises NotDurable when the disk failed, LakeBroken without a lake."""
    directory = settings.directory
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    maintainer = Maintainer(
        place_at(settings.lake_place),
        directory.run,
        settings.merging,
        settings.retention,
        settings.resources,
        is_stopping=stop.is_set,
    )
    schedule = Schedule(maintainer.tasks(timedelta(seconds=settings.audit_seconds)), directory.run / "maintenance.json")
    maintainer.sync_all()
    sweep_scratch(settings.scratch)
    threads = [
        threading.Thread(target=loop, args=(stop,), name=f"loop-{number}", daemon=True)
        for number, loop in enumerate(loops(settings))
    ]
    for thread in threads:
        thread.start()
    ready = directory.run / f"{name}.ready"
    ready.write_text(str(os.getpid()))
    log.info("ready")
    try:
        while not stop.is_set():
            take_turn(schedule, datetime.now(UTC), stop)
            stop.wait(LOOK_SECONDS)
    finally:
        ready.unlink(missing_ok=True)
        stop.set()
        for thread in threads:
            thread.join(timeout=10)
    log.info("stopped")


def take_turn(schedule: Schedule, now: datetime, stop: threading.Event) -> None:
    """Run what is due; one task's failure is told and does not keep the others from their turn."""
    for task in schedule.due(now):
        if stop.is_set():
            return
        schedule.ran(task, now)
        try:
            task.run(now)
        except NotDurable:
            raise
        except (StorageError, DeltaError, OSError) as error:
            metrics.count("streamgauge_alarms_total", kind="maintenance")
            log.error("a maintenance task failed", extra={"task": task.name, "reason": str(error)}, exc_info=error)
