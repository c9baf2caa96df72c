"""A running `streamgauge up`, as a test sees it from outside."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import polars as pl
from deltalake import DeltaTable

COMMAND = str(Path(sys.executable).parent / "streamgauge")


@dataclass(slots=True)
class System:
    """One data directory, its processes and the keys of its first project."""

    data: Path
    url: str
    process: "subprocess.Popen[str]"
    keys: dict[str, str] = field(default_factory=dict)
    project: int = 0

    def run(self, *arguments: str) -> str:
        """One command of the CLI beside the running system; its standard output."""
        environment = {**os.environ, "STREAMGAUGE_DATA_DIR": str(self.data)}
        done = subprocess.run([COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def initialise(self, project: str = "river") -> None:
        """Make an account and a project, and remember its keys."""
        made = json.loads(
            self.run(
                *("init", "--email", "a@example.com", "--password", "correct horse", "--project", project),
                *("--domain", "example.com", "--json"),
            )
        )
        self.keys, self.project = made["keys"], made["project"]["id"]

    def client(self, key: str = "jcht") -> httpx.Client:
        """An HTTP client with one of the keys."""
        return httpx.Client(base_url=self.url, headers={"X-API-Key": self.keys[key]}, timeout=30)

    def table(self, name: str) -> pl.DataFrame:
        """A lake table, read by another engine than ours."""
        table = DeltaTable(str(self.data / "lake" / name))
        files = table.file_uris()
        return pl.read_parquet(files, hive_partitioning=True, missing_columns="insert") if files else pl.DataFrame()

    def processes(self) -> dict[str, dict[str, Any]]:
        """What `ps` says, by name."""
        return {entry["name"]: entry for entry in json.loads(self.run("ps", "--json"))}

    def pid(self, name: str) -> int:
        """The process of one name."""
        return int(self.processes()[name]["pid"])

    def logs(self) -> str:
        """The ends of all logs, for a failure's message."""
        parts = [
            f"== {path.name}\n{path.read_text(errors='replace')[-2000:]}" for path in (self.data / "logs").glob("*")
        ]
        return "\n".join(parts)


@contextlib.contextmanager
def running(data: Path, named: Mapping[str, str] | None = None, **options: str) -> Iterator[System]:
    """`streamgauge up` on a data directory, with some variables, ended by SIGTERM; exit status 0 is asserted."""
    port = free_port()
    arguments = [COMMAND, "up", "--port", str(port), "--data-dir", str(data)]
    for name, value in options.items():
        arguments += [f"--{name.replace('_', '-')}", value]
    environment = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP_SERVERS"}
    environment |= named or {}
    data.mkdir(parents=True, exist_ok=True)
    with (data / "up.out").open("a") as output:
        process = subprocess.Popen(
            arguments, env=environment, stdout=output, stderr=output, text=True, start_new_session=True
        )
        system = System(data, f"http://127.0.0.1:{port}", process)
        try:
            wait_until(lambda: is_ready(system), 180, lambda: (data / "up.out").read_text() + system.logs())
            yield system
            process.send_signal(signal.SIGTERM)
            assert process.wait(90) == 0, (data / "up.out").read_text()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def is_ready(system: System) -> bool:
    """Whether `/health/ready` answers 200."""
    assert system.process.poll() is None, "up ended:\n" + (system.data / "up.out").read_text()
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{system.url}/health/ready", timeout=5).status_code == 200
    return False


def wait_until(condition: Callable[[], Any], seconds: float, explain: Callable[[], str] = lambda: "") -> Any:
    """The condition's first true value; fails with an explanation when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s\n{explain()}"
        time.sleep(0.1)


def free_port() -> int:
    """A port below 32768, where no outgoing connection can take it."""
    for port in range(20000 + os.getpid() % 5000, 32768):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")
