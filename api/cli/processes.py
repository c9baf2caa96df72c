"""The supervisor: children that come back under their own names, die with their parent, and stop in order."""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TextIO

from api.cli.restarts import Restarts
from api.cli.running import Member, ready_file
from api.cli.wakeups import Wakeups

# An output file above this is set aside; two of them a child stay.
_OUTPUT_BYTES: Final = 32 * 1024 * 1024
_HOUSEKEEPING_SECONDS: Final = 10.0
# After a second request to stop, what is left to a child between SIGTERM and SIGKILL.
_HASTY_SECONDS: Final = 2.0
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Child:
    """One process to keep alive."""

    name: str
    command: tuple[str, ...]
    # Children of a lower rank are gone before those of a higher one are told to stop.
    stop_rank: int
    # From SIGTERM to SIGKILL; the sum over the ranks stays below the 90 s that a stop may take.
    stop_seconds: float
    # Started only while the log answers, and not blamed for ending while it does not.
    needs_log: bool = False
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    fds: tuple[int, ...] = ()
    # Its output goes to the terminal instead of a file.
    is_shown: bool = False


@dataclass(slots=True)
class _Place:
    """A child's place: who fills it now, or when somebody will."""

    child: Child
    restarts: Restarts = field(default_factory=Restarts)
    process: subprocess.Popen[bytes] | None = None
    pid: int = 0
    started: float = 0.0
    due: float = 0.0


class Supervisor:
    """Keeps children alive until told to stop. One thread, which must be the main one.

    `is_log_up` may block for a second; `tell` gets one line for people; `publish` gets the members at each change.
    """

    def __init__(
        self,
        wakeups: Wakeups,
        run: Path,
        logs: Path,
        is_log_up: Callable[[], bool],
        tell: Callable[[str], None],
        publish: Callable[[Sequence[Member]], None],
    ) -> None:
        self._wakeups = wakeups
        self._run = run
        self._logs = logs
        self._is_log_up = is_log_up
        self._tell = tell
        self._publish = publish
        self._places: dict[str, _Place] = {}
        self._next_housekeeping = 0.0

    def add(self, child: Child) -> None:
        """Start a child at the next round, or when the log is up."""
        self._places[child.name] = _Place(child)

    def watch(self, until: Callable[[], bool], every_seconds: float) -> bool:
        """Keep the children alive until `until` holds (True) or a stop is asked for (False)."""
        while not self._wakeups.stops:
            self._round(time.monotonic())
            if until():
                return True
            self._wakeups.wait(min(every_seconds, self._pause()))
        return False

    def run_once(self, child: Child) -> int | None:
        """Run a child to its end beside the others: its exit status, or None when a stop is asked for."""
        process = self._spawn(child)
        try:
            if self.watch(lambda: process.poll() is not None, 1.0):
                return process.returncode
            return None
        finally:
            self._end([process], child.stop_seconds)

    def stop(self) -> None:
        """End all children, lowest rank first; none is left, whatever it takes."""
        for rank in sorted({place.child.stop_rank for place in self._places.values()}):
            places = [place for place in self._places.values() if place.child.stop_rank == rank]
            self._end([p.process for p in places if p.process], max(p.child.stop_seconds for p in places))
            for place in places:
                place.process = None
                self._forget_ready(place.child.name)

    def _round(self, now: float) -> None:
        is_changed = False
        for place in self._places.values():
            if place.process and place.process.poll() is not None:
                self._ended(place, place.process, now)
                is_changed = True
            if not place.process and now >= place.due:
                is_changed |= self._start(place, now)
        if is_changed:
            self._publish(self.members())
        if now >= self._next_housekeeping:
            self._next_housekeeping = now + _HOUSEKEEPING_SECONDS
            for name in self._places:
                rotate(output_path(self._logs, name))

    def members(self) -> list[Member]:
        """All places by name, each with the process that fills it or filled it last."""
        return [Member(name, place.pid) for name, place in self._places.items()]

    def failures(self, name: str) -> int:
        """Ends of a child in close succession."""
        return self._places[name].restarts.failures

    def _start(self, place: _Place, now: float) -> bool:
        if place.child.needs_log and not self._is_log_up():
            place.due = now + 0.5
            return False
        try:
            place.process = self._spawn(place.child)
        except OSError as error:  # no room for a process, a descriptor or a file, at the moment
            delay = place.restarts.delay(now, 0.0, 1, is_log_away=False)
            place.due = now + delay
            self._tell(f"{place.child.name} cannot start ({error.strerror}), tries again in {delay:g} s")
            return False
        place.pid = place.process.pid
        place.started = now
        return True

    def _ended(self, place: _Place, process: subprocess.Popen[bytes], now: float) -> None:
        name = place.child.name
        _kill_group(process.pid)  # what it may have started itself
        self._forget_ready(name)
        is_log_away = place.child.needs_log and not self._is_log_up()
        delay = place.restarts.delay(now, now - place.started, process.returncode, is_log_away=is_log_away)
        place.process = None
        place.due = now + delay
        ending = _describe(process.returncode)
        self._tell(f"{name} ended ({ending}), starts again in {delay:g} s; see {self._logs / name}.*")

    def _pause(self) -> float:
        """Seconds until a child is due or the next housekeeping; the end of a child cuts them short."""
        dues = [place.due for place in self._places.values() if not place.process]
        return max(min([*dues, self._next_housekeeping]) - time.monotonic(), 0.05)

    def _spawn(self, child: Child) -> subprocess.Popen[bytes]:
        self._forget_ready(child.name)
        if child.is_shown:
            return _popen(child, None)
        path = output_path(self._logs, child.name)
        rotate(path)
        with open_output(path) as output:
            return _popen(child, output)

    def _end(self, processes: Sequence[subprocess.Popen[bytes]], seconds: float) -> None:
        """SIGTERM to all, and SIGKILL to whoever is left after `seconds`, or 2 s after a second request to stop."""
        alive = [process for process in processes if process.poll() is None]
        for process in alive:
            process.terminate()
        deadline = time.monotonic() + seconds
        is_hasty = False
        while alive and time.monotonic() < deadline:
            if self._wakeups.stops > 1 and not is_hasty:
                is_hasty = True
                deadline = min(deadline, time.monotonic() + _HASTY_SECONDS)
                for process in alive:
                    process.terminate()  # a worker ends at once at the second
            self._wakeups.wait(min(deadline - time.monotonic(), 0.5))
            alive = [process for process in alive if process.poll() is None]
        for process in processes:
            _kill_group(process.pid)
            process.wait()

    def _forget_ready(self, name: str) -> None:
        ready_file(self._run, name).unlink(missing_ok=True)


def _popen(child: Child, output: TextIO | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        child.command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=child.environment,
        pass_fds=child.fds,
        process_group=0,  # Ctrl-C reaches only the supervisor, which stops them in order
        preexec_fn=partial(die_with, os.getpid()),
    )


def output_path(logs: Path, name: str) -> Path:
    """Where a child's output goes: what it says before and beside the log that it writes itself."""
    return logs / f"{name}.stdout"


def open_output(path: Path) -> TextIO:
    """For appending, readable by the owner only."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "a")


def last_line(path: Path) -> str:
    """The last line of an output that says something."""
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - 4096, 0))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def die_with(parent: int) -> None:
    """In a new child, before it becomes its program: end when `parent` ends, at once if it ended already.

    SIGKILL, because a parent that could stop its children in order would have done so; everything here is made for
    kill -9, and nothing must be left in the way of the next start.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


# Loaded before any fork: between fork and exec only simple calls are safe.
_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # nobody left, as it should be
        os.killpg(group, signal.SIGKILL)


def rotate(path: Path) -> None:
    """Copied and emptied rather than renamed, since the child holds it open for appending."""
    try:
        if path.stat().st_size < _OUTPUT_BYTES:
            return
    except FileNotFoundError:
        return
    with contextlib.suppress(OSError):  # on a full disk, room is worth more than old lines
        shutil.copy(path, path.with_suffix(".stdout.1"))  # with its permissions
    os.truncate(path, 0)


def _describe(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
