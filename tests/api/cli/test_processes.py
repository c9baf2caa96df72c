"""The supervisor over tiny children: restart, order of the stop, process groups, death with the parent."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from api.cli import processes
from api.cli.processes import Child, Supervisor, last_line, open_output, output_path
from api.cli.running import Member
from api.cli.wakeups import Wakeups

SLEEPER = "import time; time.sleep(600)"


class Scene:
    """A supervisor, and what it said."""

    def __init__(self, folder: Path, wakeups: Wakeups) -> None:
        self.folder = folder
        self.wakeups = wakeups
        self.told: list[str] = []
        self.published: list[dict[str, int]] = []
        self.is_log_up = True
        self.supervisor = Supervisor(wakeups, folder, folder, lambda: self.is_log_up, self.told.append, self._note)

    def _note(self, members: Sequence[Member]) -> None:
        self.published.append({member.name: member.pid for member in members})

    def child(self, name: str, code: str, rank: int = 0, seconds: float = 5.0, needs_log: bool = False) -> Child:
        command = (sys.executable, "-c", textwrap.dedent(code))
        return Child(name, command, rank, seconds, needs_log, {**os.environ, "FOLDER": str(self.folder)})

    def pid(self, name: str) -> int:
        return {member.name: member.pid for member in self.supervisor.members()}[name]

    def watch(self, until: Callable[[], bool], seconds: float = 20.0) -> bool:
        deadline = time.monotonic() + seconds

        def is_done() -> bool:
            assert time.monotonic() < deadline, f"not in time; told: {self.told}"
            return until()

        return self.supervisor.watch(is_done, 0.02)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Wakeups() as wakeups:
        scene = Scene(tmp_path, wakeups)
        try:
            yield scene
        finally:
            scene.supervisor.stop()


def test_a_killed_child_comes_back_under_its_name(scene: Scene) -> None:
    scene.supervisor.add(scene.child("worker-0", SLEEPER))
    scene.watch(lambda: scene.pid("worker-0") > 0)
    first = scene.pid("worker-0")

    os.kill(first, signal.SIGKILL)
    scene.watch(lambda: scene.pid("worker-0") != first)

    assert _is_running(scene.pid("worker-0"))
    assert not _is_running(first)
    assert "worker-0 ended (killed by SIGKILL), starts again in 0.5 s" in scene.told[0]
    assert scene.published[-1] == {"worker-0": scene.pid("worker-0")}


def test_a_child_that_keeps_failing_is_started_less_and_less_often(scene: Scene) -> None:
    scene.supervisor.add(scene.child("api", "raise SystemExit('no room')"))

    scene.watch(lambda: len(scene.told) == 3)

    assert [line.partition("starts again in ")[2].partition(" s")[0] for line in scene.told] == ["0.5", "1", "2"]
    assert scene.supervisor.failures("api") == 3
    assert last_line(output_path(scene.folder, "api")) == "no room"


def test_a_child_that_needs_the_log_waits_for_it(scene: Scene) -> None:
    scene.is_log_up = False
    scene.supervisor.add(scene.child("worker-0", SLEEPER, needs_log=True))
    scene.supervisor.add(scene.child("api", SLEEPER))
    scene.watch(lambda: scene.pid("api") > 0)
    assert scene.pid("worker-0") == 0

    scene.is_log_up = True
    scene.watch(lambda: scene.pid("worker-0") > 0)


def test_ending_while_the_log_is_away_is_not_held_against_a_child(scene: Scene) -> None:
    scene.supervisor.add(scene.child("worker-0", SLEEPER, needs_log=True))
    scene.watch(lambda: scene.pid("worker-0") > 0)

    scene.is_log_up = False
    os.kill(scene.pid("worker-0"), signal.SIGKILL)
    scene.watch(lambda: bool(scene.told))

    assert scene.supervisor.failures("worker-0") == 0


def test_a_child_that_cannot_be_started_is_tried_again(scene: Scene) -> None:
    program = scene.folder / "program"
    scene.supervisor.add(Child("api", (str(program),), 0, 1.0))
    scene.watch(lambda: bool(scene.told))
    assert scene.told == ["api cannot start (No such file or directory), tries again in 0.5 s"]

    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o700)
    scene.watch(lambda: scene.pid("api") > 0)


def test_a_stop_ends_lower_ranks_before_higher_ones_are_told(scene: Scene) -> None:
    code = """
        import os, pathlib, signal, sys, time
        folder = pathlib.Path(os.environ["FOLDER"])
        def stop(*_):
            time.sleep({delay})
            with (folder / "order").open("a") as order:
                order.write("{name} ")
            sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
        (folder / "{name}.up").touch()
        while True:
            time.sleep(0.05)
    """
    # The first in order is the slowest: were all told at once, it would come last.
    for name, rank, delay in (("broker", 3, 0), ("maintain", 2, 0.1), ("worker-0", 1, 0.3), ("api", 0, 0.6)):
        scene.supervisor.add(scene.child(name, code.format(name=name, delay=delay), rank))
    scene.watch(lambda: len(list(scene.folder.glob("*.up"))) == 4)

    scene.supervisor.stop()

    assert (scene.folder / "order").read_text().split() == ["api", "worker-0", "maintain", "broker"]


STUBBORN = """
    import os, pathlib, signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    pathlib.Path(os.environ["FOLDER"], "inner").write_text(str(inner.pid))
    pathlib.Path(os.environ["FOLDER"], "ready").touch()
    time.sleep(600)
"""


def test_a_child_that_will_not_stop_is_killed_with_all_it_started(scene: Scene) -> None:
    scene.supervisor.add(scene.child("api", STUBBORN, seconds=0.3))
    scene.watch((scene.folder / "ready").exists)
    outer, inner = scene.pid("api"), int((scene.folder / "inner").read_text())

    scene.supervisor.stop()

    assert not _is_running(outer)
    _await_end(inner)


def test_a_second_request_hastens_the_stop(scene: Scene) -> None:
    scene.supervisor.add(scene.child("api", STUBBORN, seconds=60))
    scene.watch((scene.folder / "ready").exists)

    scene.wakeups.stops = 2
    start = time.monotonic()
    scene.supervisor.stop()

    assert 1.5 < time.monotonic() - start < 20


def test_children_lead_process_groups_of_their_own(scene: Scene) -> None:
    scene.supervisor.add(scene.child("api", SLEEPER))
    scene.watch(lambda: scene.pid("api") > 0)

    assert os.getpgid(scene.pid("api")) == scene.pid("api") != os.getpgid(0)


def test_a_signal_ends_the_watch(scene: Scene) -> None:
    scene.supervisor.add(scene.child("api", SLEEPER))
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()

    assert scene.watch(lambda: False) is False
    assert scene.wakeups.stops == 1
    timer.join()


def test_a_one_time_child_runs_beside_the_others_and_gives_its_status(scene: Scene) -> None:
    scene.supervisor.add(scene.child("broker", SLEEPER))

    assert scene.supervisor.run_once(scene.child("prepare", "raise SystemExit(3)")) == 3
    assert [member.name for member in scene.supervisor.members()] == ["broker"]


def test_a_stop_during_a_one_time_child_ends_it(scene: Scene) -> None:
    code = "import os, signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(600)"
    before = _children()

    assert scene.supervisor.run_once(scene.child("prepare", code)) is None
    assert _children() <= before


def _children() -> set[str]:
    """Processes of this one; other tests may have left some that last as long as all of them."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = f"""
        import os, pathlib, sys
        from api.cli.processes import Child, Supervisor
        from api.cli.wakeups import Wakeups
        folder = pathlib.Path({str(tmp_path)!r})
        with Wakeups() as wakeups:
            supervisor = Supervisor(wakeups, folder, folder, lambda: True, print, lambda members: None)
            supervisor.add(Child("api", (sys.executable, "-c", {SLEEPER!r}), 0, 1.0, False, dict(os.environ)))
            supervisor.watch(lambda: bool(supervisor.members()[0].pid), 0.1)
            print(supervisor.members()[0].pid, flush=True)
            supervisor.watch(lambda: False, 60)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert _is_running(child)
        parent.kill()
    _await_end(child)


def test_a_child_whose_parent_is_gone_already_does_not_start() -> None:
    code = "from api.cli.processes import die_with; die_with(1 << 22); print('alive')"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")


def test_a_large_output_is_set_aside_while_its_writer_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_OUTPUT_BYTES", 10)
    path = output_path(tmp_path, "api")
    with open_output(path) as output:
        print("the first line", file=output, flush=True)
        processes.rotate(path)
        print("the second", file=output, flush=True)
        assert (path.read_text(), path.with_suffix(".stdout.1").read_text()) == ("the second\n", "the first line\n")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.with_suffix(".stdout.1").stat().st_mode & 0o777 == 0o600


def _await_end(pid: int) -> None:
    deadline = time.monotonic() + 10
    while _is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_running(pid: int) -> bool:
    """A zombie has ended: an orphan is reaped by whoever adopts it, in its own time."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
