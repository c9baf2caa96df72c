"""Which periodic task is due, decided from the clock that is handed in."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """Work that comes round; it returns between its own steps when a stop was asked for."""

    name: str
    every: timedelta
    run: Callable[[datetime], object]
    is_remembered: bool = False  # its last run counts across restarts


class Schedule:
    """When each task ran last; long intervals are kept in a file, so that restarts do not reset them."""

    def __init__(self, tasks: Sequence[PeriodicTask], memory: Path) -> None:
        self.tasks = tasks
        self._memory = memory
        self._ran = dict(_read(memory))

    def due(self, now: datetime) -> list[PeriodicTask]:
        """Tasks whose interval has passed, in their order. A clock that was set back makes them due."""
        return [task for task in self.tasks if not self._is_fresh(task, now)]

    def _is_fresh(self, task: PeriodicTask, now: datetime) -> bool:
        ran = self._ran.get(task.name)
        return ran is not None and now - task.every < ran <= now

    def ran(self, task: PeriodicTask, now: datetime) -> None:
        """Note a run, whether it succeeded or not."""
        self._ran[task.name] = now
        if task.is_remembered:
            names = {task.name for task in self.tasks if task.is_remembered}
            kept = {name: at.isoformat() for name, at in self._ran.items() if name in names}
            self._memory.write_text(json.dumps(kept))


def _read(memory: Path) -> Mapping[str, datetime]:
    try:
        found = json.loads(memory.read_bytes())
        return {str(name): datetime.fromisoformat(at) for name, at in found.items()}
    except (FileNotFoundError, ValueError, AttributeError, TypeError):
        return {}
