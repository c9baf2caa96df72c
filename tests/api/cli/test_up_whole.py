"""`streamgauge up` as it runs: all of it comes up, comes back after kill -9, and stops leaving nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from api.cli.running import get_status

# What `up` promises, and what a busy machine of two cores needs.
READY_SECONDS = 180
BACK_SECONDS = 90
STOP_SECONDS = 90


@dataclass(frozen=True, slots=True)
class Up:
    """A running `up`."""

    process: "subprocess.Popen[str]"
    data_dir: Path
    port: int

    def ps(self) -> dict[str, dict[str, Any]]:
        children = run(self.data_dir, "ps", "--json").stdout
        return {child["name"]: child for child in json.loads(children)}


def run(data_dir: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "api.cli", *arguments, "--data-dir", str(data_dir)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True)


def environment() -> dict[str, str]:
    """The embedded broker, whatever the suite itself runs against."""
    return {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP_SERVERS"}


@contextmanager
def going_up(data_dir: Path, *options: str) -> Iterator[Up]:
    command = [sys.executable, "-m", "api.cli", "up", "--data-dir", str(data_dir), "--port", "0", *options]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            ready = next((line for line in lines if line.startswith("ready ")), None)
            assert ready is not None, "\n".join(path.read_text() for path in (data_dir / "logs").glob("*.stdout"))
            yield Up(process, data_dir, int(ready.rpartition(":")[2]))
        finally:
            process.kill()


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.2)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("kafka_server")
def test_the_whole_life_of_up(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    begun = time.monotonic()
    with going_up(data_dir, "--api-workers", "2") as up:
        assert time.monotonic() - begun < READY_SECONDS
        # Whichever of the two answers.
        assert {get_status("127.0.0.1", up.port, "/health/ready")[0] for _ in range(8)} == {200}
        until(lambda: all(child["ready"] for child in up.ps().values()), BACK_SECONDS, "all ready")

        children = up.ps()
        assert set(children) == {"broker", "api-0", "api-1", "worker-0", "maintain"}
        assert up.process.pid not in {child["pid"] for child in children.values()}
        healthy = run(data_dir, "doctor")
        assert healthy.returncode == 0, healthy.stdout

        for child in children.values():
            os.kill(child["pid"], signal.SIGKILL)
        until(lambda: is_back(up, children), BACK_SECONDS, "all back")
        until(lambda: get_status("127.0.0.1", up.port, "/health/ready")[0] == 200, BACK_SECONDS, "ready again")

        last = up.ps()
        up.process.send_signal(signal.SIGTERM)
        up.process.communicate(timeout=STOP_SECONDS)
    assert up.process.returncode == 0
    assert up.ps() == {}
    assert not [child for child in last.values() if Path(f"/proc/{child['pid']}").exists()]


def is_back(up: Up, before: dict[str, dict[str, Any]]) -> bool:
    now = up.ps()
    assert set(now) == set(before)
    return all(child["ready"] and child["pid"] != before[name]["pid"] for name, child in now.items())


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("kafka_server")
def test_a_broker_that_cannot_start_is_the_one_line_of_up(tmp_path: Path) -> None:
    named = environment() | {"STREAMGAUGE_BROKER_HEAP_MB": "99999999"}
    command = [sys.executable, "-m", "api.cli", "up", "--data-dir", str(tmp_path / "data"), "--port", "0"]

    done = subprocess.run(command, env=named, capture_output=True, text=True)

    assert done.returncode == 1
    assert "STREAMGAUGE_BROKER_HEAP_MB" in done.stderr
    assert "KAFKA_BOOTSTRAP_SERVERS" in done.stderr
    assert done.stderr.count("\n") == 1
