"""Four writers that all believe they own the same partitions, while they are killed and frozen."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from storage.lake.tables import create_tables
from tests.faults.checker import check_lake
from tests.faults.river import ROOT
from tests.faults.test_steps import STEPS
from tests.faults.writer import PARTITIONS, make_log
from tests.processors.records import CHAIN

WRITERS = 4


@dataclass
class SplitBrain:
    """The writers, and a hand that kills, freezes and restarts them."""

    root: Path
    records: int
    mode: str
    seed: int
    kills: int = 0
    stops: int = 0
    starts: int = 0
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.lake = self.root / "lake"
        self.lake.mkdir()
        create_tables(self.lake)

    def start(self, *, may_die: bool) -> None:
        environment = dict(os.environ)
        environment.pop("STREAMGAUGE_CRASH_AT", None)
        if may_die:
            environment["STREAMGAUGE_CRASH_AT"] = f"{self.rng.choice(STEPS)}:{self.rng.randint(2, 8)}"
        self.starts += 1
        with open(self.root / f"writer-{self.starts}.log", "wb") as output:
            command = [sys.executable, "-m", "tests.faults.writer", str(self.lake), str(self.records)]
            self.running.append(
                subprocess.Popen(
                    [*command, str(self.rng.randrange(10**6)), self.mode],
                    cwd=ROOT,
                    env=environment,
                    stdout=output,
                    stderr=output,
                )
            )

    def run(self, seconds: float) -> None:
        """Writers live and die until one has come to the end of the log; for the rest nobody is killed."""
        deadline = time.monotonic() + seconds
        for _ in range(WRITERS):
            self.start(may_die=True)
        try:
            while True:
                self._freeze_one()
                for process in [one for one in self.running if one.poll() is not None]:
                    self.running.remove(process)
                    if process.returncode == 0:
                        return
                    self.kills += process.returncode == -signal.SIGKILL
                    self.start(may_die=time.monotonic() < deadline)
        finally:
            for process in self.running:
                process.kill()
                process.wait()

    def _freeze_one(self) -> None:
        process = self.rng.choice(self.running)
        if self.rng.random() < 0.5 or process.poll() is not None:
            time.sleep(0.1)
            return
        process.send_signal(signal.SIGSTOP)
        time.sleep(self.rng.uniform(0.05, 0.4))
        process.send_signal(signal.SIGCONT)
        self.stops += 1

    def refused(self) -> int:
        return sum(path.read_text().count("a commit was refused") for path in self.root.glob("writer-*.log"))


def _finished(root: Path, records: int, mode: str, seed: int, seconds: float) -> tuple[list[str], SplitBrain]:
    brain = SplitBrain(root, records, mode, seed)
    brain.run(seconds)
    log, sent = make_log(records)
    wrong = check_lake(brain.lake, CHAIN, {p: log.end[p] for p in range(PARTITIONS)}, sent)
    figures = f"{brain.kills} kills, {brain.stops} stops, {brain.starts} starts, {brain.refused()} refusals"
    print(f"split brain, {mode}, seed {seed}: {figures}; wrong: {wrong}")
    assert brain.refused() > 0, "INVALID: the writers never met"
    return wrong, brain


def test_four_owners_of_the_same_partitions_write_every_line_once(tmp_path: Path) -> None:
    wrong, brain = _finished(tmp_path, 150, "compare", random.randrange(10**6), seconds=20)
    assert wrong == []
    assert brain.kills > 0, "INVALID: nobody died"
    assert brain.stops > 0, "INVALID: nobody was frozen"


def test_writers_that_trust_their_handle_fail_the_same_check(tmp_path: Path) -> None:
    """The control. A lucky run may be clean, so it has three seeds; the checker must object to one."""
    for attempt in range(3):
        root = tmp_path / str(attempt)
        root.mkdir()
        wrong, _ = _finished(root, 60, "trust", random.randrange(10**6), seconds=5)
        if any("places twice" in line for line in wrong):
            return
    pytest.fail("the checker found nothing wrong with a sink that is")
