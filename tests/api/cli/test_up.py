"""`streamgauge up` where it cannot come up, or is told to stop before it has; no broker needed."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = "127.0.0.1:1"


def command(data_dir: Path, port: int = 0) -> list[str]:
    return [sys.executable, "-m", "api.cli", "up", "--data-dir", str(data_dir), "--port", str(port)]


def environment(**named: str) -> dict[str, str]:
    return {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": NOBODY} | named


@contextmanager
def preparing(data_dir: Path) -> Iterator["subprocess.Popen[str]"]:
    """An `up` that waits for a log which nobody serves."""
    with subprocess.Popen(
        command(data_dir), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "preparing topics, lake and metadata\n"
            # Its child is there, so that a stop has something to end.
            deadline = time.monotonic() + 30
            while not (data_dir / "lake" / "dead_letters").exists():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


def test_a_stop_before_it_is_up_leaves_nothing_and_is_no_failure(tmp_path: Path) -> None:
    with preparing(tmp_path / "data") as process:
        children = children_of(process.pid)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)

    assert children
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[-1] == "stopped"
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_a_second_one_on_the_same_directory_is_refused_in_one_line(tmp_path: Path) -> None:
    with preparing(tmp_path / "data"):
        second = subprocess.run(command(tmp_path / "data"), env=environment(), capture_output=True, text=True)

    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr.startswith("streamgauge: another `streamgauge up` runs on ")
    assert second.stderr.count("\n") == 1


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(command(tmp_path / "data", port), env=environment(), capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"streamgauge: port {port} on 127.0.0.1 cannot be used (Address already in use);"
        " free it, or choose another with --port\n"
    )
    assert not (tmp_path / "data").exists()


def test_a_taken_port_is_told_as_the_same_directory_where_that_is_why(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with preparing(tmp_path / "data"):
            done = subprocess.run(command(tmp_path / "data", port), env=environment(), capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("streamgauge: another `streamgauge up` runs on ")
    assert done.stderr.count("\n") == 1


def test_what_preparation_cannot_do_is_the_one_line_of_up(tmp_path: Path) -> None:
    nobody = environment(DATABASE_URL=f"postgresql://{NOBODY}/streamgauge")

    done = subprocess.run(command(tmp_path / "data"), env=nobody, capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr.startswith("streamgauge: the metadata database does not answer")
    assert done.stderr.rstrip().endswith("prepare.stdout")
    assert done.stderr.count("\n") == 1


def test_everything_it_makes_is_the_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    with preparing(tmp_path / "data"):
        pass

    open_to_others = [path for path in (tmp_path / "data").rglob("*") if path.lstat().st_mode & 0o077]
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert open_to_others == []


def test_metrics_of_an_earlier_run_are_forgotten(tmp_path: Path) -> None:
    metrics = tmp_path / "data" / "run" / "metrics"
    metrics.mkdir(parents=True)
    (metrics / "counter_1.db").touch()

    with preparing(tmp_path / "data"):
        assert list(metrics.iterdir()) == []


def test_it_goes_on_when_nobody_reads_what_it_says(tmp_path: Path) -> None:
    with preparing(tmp_path / "data") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_its_directory_is_free_again_however_it_ended(tmp_path: Path, name: str) -> None:
    for _ in range(2):
        with preparing(tmp_path / "data") as process:
            children = children_of(process.pid)
            process.send_signal(signal.Signals[name])
            process.wait(timeout=60)
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{child}/cmdline").exists() and is_ours(child) for child in children):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def is_ours(pid: str) -> bool:
    """Still running: a zombie's command line is empty."""
    try:
        return b"api.cli" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
