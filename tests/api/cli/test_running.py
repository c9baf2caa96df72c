"""What a running `up` says of itself, and what `ps` makes of it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.cli.main import main
from api.cli.output import Failure
from api.cli.running import (
    Member,
    Running,
    UpLock,
    describe,
    get_status,
    is_listening,
    read_running,
    ready_file,
    write_running,
)


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_without_an_up_there_is_nothing(tmp_path: Path) -> None:
    assert describe(tmp_path) == []


def test_what_an_ended_up_left_behind_is_nothing(tmp_path: Path) -> None:
    with UpLock(tmp_path):
        write_running(tmp_path, Running(1, "127.0.0.1", 1, "", (Member("api", os.getpid()),)))

    assert describe(tmp_path) == []


def test_an_up_that_has_only_begun_has_no_children(tmp_path: Path) -> None:
    with UpLock(tmp_path):
        assert describe(tmp_path) == []


def test_ready_is_who_said_so_in_this_life(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    children = (Member("worker-0", os.getpid()), Member("worker-1", os.getpid()), Member("worker-2", ended.pid))
    ready_file(tmp_path, "worker-0").write_text(f"{os.getpid()}\n")
    ready_file(tmp_path, "worker-1").write_text("1\n")
    ready_file(tmp_path, "worker-2").write_text(f"{ended.pid}\n")

    with UpLock(tmp_path):
        write_running(tmp_path, Running(os.getpid(), "127.0.0.1", 1, "", children))
        assert [(child["name"], child["ready"]) for child in describe(tmp_path)] == [
            ("worker-0", True),
            ("worker-1", False),
            ("worker-2", False),
        ]


def test_the_broker_is_ready_when_its_port_takes_connections(tmp_path: Path, port: int) -> None:
    def is_ready(bootstrap: str) -> object:
        write_running(tmp_path, Running(1, "127.0.0.1", 1, bootstrap, (Member("broker", os.getpid()),)))
        return describe(tmp_path)[0]["ready"]

    with UpLock(tmp_path):
        assert is_ready(f"127.0.0.1:{port}") is True
        assert is_ready("127.0.0.1:1") is False
        assert is_ready("") is False


def test_an_api_that_said_so_but_does_not_answer_is_not_ready(tmp_path: Path, port: int) -> None:
    ready_file(tmp_path, "api").write_text(str(os.getpid()))
    with UpLock(tmp_path):
        write_running(tmp_path, Running(1, "127.0.0.1", port, "", (Member("api", os.getpid()),)))

        assert describe(tmp_path)[0]["ready"] is False


def test_a_second_up_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    with UpLock(tmp_path), pytest.raises(Failure, match=r"another `streamgauge up` runs on .*another --data-dir"):
        UpLock(tmp_path)
    with UpLock(tmp_path):
        pass


def test_a_glance_of_ps_does_not_keep_an_up_from_starting(tmp_path: Path) -> None:
    with UpLock(tmp_path):
        pass
    code = "import fcntl, sys, time; fcntl.flock(sys.stdin, fcntl.LOCK_SH); print(flush=True); time.sleep(0.3)"
    command = [sys.executable, "-c", code]
    with (tmp_path / "up.lock").open() as lock, subprocess.Popen(command, stdin=lock, stdout=subprocess.PIPE) as glance:
        lock.close()  # the lock is the other process's alone
        assert glance.stdout is not None
        glance.stdout.readline()
        with UpLock(tmp_path):
            assert read_running(tmp_path) is None


def test_ps_prints_json_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with UpLock(run):
        write_running(run, Running(1, "127.0.0.1", 1, "", (Member("maintain", os.getpid()),)))
        with pytest.raises(SystemExit) as ended:
            main(["ps", "--data-dir", str(tmp_path), "--json"])

    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out) == [{"name": "maintain", "pid": os.getpid(), "ready": False}]


def test_ps_of_nothing_is_an_empty_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ps", "--data-dir", str(tmp_path / "none"), "--json"])

    assert (ended.value.code, capsys.readouterr().out) == (0, "[]\n")
    assert not (tmp_path / "none").exists()


def test_any_of_several_servers_will_do(port: int) -> None:
    assert is_listening(f"127.0.0.1:1, 127.0.0.1:{port}", 1.0)
    assert not is_listening("127.0.0.1:1,nonsense", 1.0)


def test_nobody_there_is_status_zero() -> None:
    assert get_status("127.0.0.1", 1, "/health/live") == (0, b"")
