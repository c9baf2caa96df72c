"""What a running `up` says about itself: the lock it holds, its children, and who of them is ready."""

import fcntl
import http.client
import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from api.cli.options import DataDir, Json, load
from api.cli.output import Failure, say_json, say_table
from storage.settings import StorageSettings

_LOCK: Final = "up.lock"
_STATE: Final = "up.json"
# `ps` looks at the lock by taking it for an instant; so long `up` waits for such a glance to pass.
_GLANCE_SECONDS: Final = 1.0
# A process that cannot answer in this time is not ready.
_ANSWER_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Member:
    """A child of `up` by its lasting name; the pid is that of its last process."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class Running:
    """What `up` writes down for other commands."""

    pid: int
    host: str
    port: int
    bootstrap: str
    children: tuple[Member, ...]

    @property
    def url(self) -> str:
        """Where the API answers from this host."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


class UpLock:
    """Held by the one `up` of a data directory; freed by the kernel, however it ends."""

    def __init__(self, run: Path) -> None:
        self._file = os.open(run / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _GLANCE_SECONDS
        while not _locked(self._file, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                os.close(self._file)
                raise Failure(f"another `streamgauge up` runs on {run.parent}; stop it, or choose another --data-dir")
            time.sleep(0.05)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def write_running(run: Path, running: Running) -> None:
    """Replace what was written down, in one step."""
    draft = run / f"{_STATE}.new"
    draft.write_text(json.dumps(asdict(running), indent=2) + "\n")
    draft.replace(run / _STATE)


def read_running(run: Path) -> Running | None:
    """What the `up` of this directory says of itself; None when none runs."""
    try:
        file = os.open(run / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if _locked(file, fcntl.LOCK_SH):
            return None
        state = json.loads((run / _STATE).read_text())
    except FileNotFoundError:
        return None  # it has only begun
    finally:
        os.close(file)
    return Running(**state | {"children": tuple(Member(**child) for child in state["children"])})


def _locked(file: int, mode: int) -> bool:
    try:
        fcntl.flock(file, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def ready_file(run: Path, name: str) -> Path:
    """Holds the pid of a child that has come up; written by the child, removed by `up` before it starts one."""
    return run / f"{name}.ready"


def is_ready(run: Path, running: Running, member: Member) -> bool:
    """Whether this child does its work: the broker takes connections, the API answers, others said so themselves."""
    if not _is_alive(member.pid):
        return False
    if member.name == "broker":
        return is_listening(running.bootstrap, _ANSWER_SECONDS)
    try:
        has_said_so = int(ready_file(run, member.name).read_text()) == member.pid
    except (FileNotFoundError, ValueError):
        return False
    if member.name.startswith("api"):
        return has_said_so and get_status(running.host, running.port, "/health/live")[0] == 200
    return has_said_so


def is_listening(bootstrap: str, seconds: float) -> bool:
    """Whether one of the servers of `host:port,host:port` takes a connection."""
    for server in bootstrap.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
        except (OSError, ValueError):
            continue
        return True
    return False


def get_status(host: str, port: int, path: str) -> tuple[int, bytes]:
    """Status and body of a GET; status 0 and no body when nobody answers in time."""
    connection = http.client.HTTPConnection(host, port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(65536)
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def describe(run: Path) -> list[dict[str, object]]:
    """The children of the running `up` as `ps` shows them; empty when none runs."""
    running = read_running(run)
    if running is None:
        return []
    return [
        {"name": member.name, "pid": member.pid, "ready": is_ready(run, running, member)} for member in running.children
    ]


def ps(data_dir: DataDir = None, json: Json = False) -> None:
    """Show the processes of a running `up`."""
    children = describe(load(StorageSettings, data_dir).directory.run)
    if json:
        say_json(children)
    elif children:
        say_table(
            ("NAME", "PID", "READY"),
            [(str(c["name"]), str(c["pid"]), "yes" if c["ready"] else "no") for c in children],
        )
