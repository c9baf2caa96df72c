"""`streamgauge up`: everything on one machine, in the foreground, and its orderly end."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import which
from socket import socket
from typing import Annotated, Final

import typer

from api.cli import embedded
from api.cli.connection import resolve
from api.cli.options import DataDir, load
from api.cli.output import Failure, announce
from api.cli.processes import Child, Supervisor, last_line, output_path
from api.cli.running import Member, Running, UpLock, get_status, is_listening, write_running
from api.cli.serve import (
    api_command,
    command_of,
    environment_of,
    listen,
    maintain_command,
    worker_command,
    worker_environment_of,
)
from api.cli.wakeups import Wakeups
from api.settings import ApiSettings
from storage.settings import DataDirectory

# Ranks of stopping, each with its grace: producers of work before those who finish it. Together 80 s of the 90 s.
_API: Final = (0, 20.0)
_WORKER: Final = (1, 25.0)  # its own deadline is 20 s
_MAINTAIN: Final = (2, 10.0)
_BROKER: Final = (3, 25.0)
# A cold JVM on a busy machine. Much longer would hide a broker that never comes.
_BROKER_SECONDS: Final = 90.0
# A start that failed so often is no accident (a port just taken, say).
_BROKER_ATTEMPTS: Final = 3
# After this long people want to know what is missing, and again after as long.
_PATIENCE_SECONDS: Final = 60.0
_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class _Stopped(Exception):
    """A stop was asked for before everything was up."""


def up(
    port: Annotated[int | None, typer.Option(help="Port of the API [default: 8000].")] = None,
    host: Annotated[str | None, typer.Option(help="Address of the API [default: 127.0.0.1].")] = None,
    data_dir: DataDir = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Workers; more than partitions are of no use.")] = 1,
    api_workers: Annotated[int | None, typer.Option(min=1, max=64, help="API processes; they share the port.")] = None,
    root_path: Annotated[str | None, typer.Option(help="Path prefix that a proxy strips, such as /gauge.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Load the sample data once everything is ready.")] = False,
) -> None:
    """Run broker, API and workers in the foreground."""
    settings = load(ApiSettings, data_dir, host=host, port=port, root_path=root_path, api_workers=api_workers)
    is_shared = settings.lake_group_readable
    os.umask(0o027 if is_shared else 0o077)
    with closing(_listen(settings)) as listener, _held(settings.directory, 0o750 if is_shared else 0o700) as directory:
        is_embedded = not settings.kafka_bootstrap_servers
        if is_embedded:
            embedded.fetch(load(embedded.BrokerSettings, data_dir))
        for old in directory.metrics.iterdir():
            old.unlink()
        with Wakeups() as wakeups:
            settings = settings.model_copy(update={"port": listener.getsockname()[1]})
            river = _Up(wakeups, settings, listener.fileno())
            try:
                river.start(is_embedded, workers)
                if demo:
                    river.load_demo()
                river.serve()
            except _Stopped:
                pass
            finally:
                if wakeups.stops:
                    announce("stopping: api, workers, maintenance, broker")
                listener.close()  # before the API's, so that the port refuses from then on
                river.supervisor.stop()
                (directory.run / "up.json").unlink(missing_ok=True)
    announce("stopped")


def _listen(settings: ApiSettings) -> socket:
    """Before anything is made; where an `up` of the same directory has the port, that is what is wrong."""
    try:
        return listen(settings.host, settings.port)
    except Failure:
        if settings.directory.run.exists():
            with UpLock(settings.directory.run):
                raise
        raise


@contextmanager
def _held(directory: DataDirectory, mode: int) -> Iterator[DataDirectory]:
    """The data directory, made where it is missing, with nobody else on it."""
    directory.create()
    directory.root.chmod(mode)
    with UpLock(directory.run):
        yield directory


def _program() -> str:
    """How this shell calls us: `make up` runs it in an environment that is on nobody's PATH."""
    called = sys.argv[0]
    return called if Path(called).name == "streamgauge" and which("streamgauge") is None else "streamgauge"


class _Up:
    """One run of `up`: its children, in the order in which they may come."""

    def __init__(self, wakeups: Wakeups, settings: ApiSettings, listener: int) -> None:
        self._settings = settings
        self._directory = settings.directory
        self._listener = listener
        self.supervisor = Supervisor(
            wakeups,
            self._directory.run,
            self._directory.logs,
            is_log_up=lambda: is_listening(self._settings.kafka_bootstrap_servers or "", 1.0),
            tell=announce,
            publish=self._publish,
        )

    def start(self, is_embedded: bool, workers: int) -> None:
        """Returns once `/health/ready` is 200; raises _Stopped, or Failure when a start is hopeless."""
        if is_embedded:
            self._start_broker()
        self._prepare(is_embedded)
        self._add_servers(workers)
        self._await_ready()

    def serve(self) -> None:
        """Until a stop is asked for."""
        self.supervisor.watch(lambda: False, 5.0)

    def load_demo(self) -> None:
        """The sample data, its progress and its answers on this terminal; a failure leaves the rest running."""
        command = command_of("demo", "--data-dir", self._directory.root)
        demo = Child("demo", command, *_API, environment=self._environment, is_shown=True)
        status = self.supervisor.run_once(demo)
        if status is None:
            raise _Stopped
        if status:
            announce(f"the demo ended with status {status}; everything else goes on")

    @property
    def _environment(self) -> dict[str, str]:
        return environment_of(self._settings)

    def _start_broker(self) -> None:
        announce("starting the broker")
        output_path(self._directory.logs, "broker").unlink(missing_ok=True)  # so that an error in it is of this start
        command = command_of("broker", "--data-dir", self._directory.root)
        self.supervisor.add(Child("broker", command, *_BROKER, environment=self._environment))
        deadline = time.monotonic() + _BROKER_SECONDS
        self._watch(lambda: self._is_broker_up(deadline), 0.1)
        self._settings = resolve(self._settings)
        self._publish(self.supervisor.members())

    def _is_broker_up(self, deadline: float) -> bool:
        if self.supervisor.failures("broker") >= _BROKER_ATTEMPTS or time.monotonic() > deadline:
            raise Failure(embedded.end_of(self._settings, output_path(self._directory.logs, "broker")))
        return embedded.is_up(self._settings, self.supervisor.members()[0].pid)

    def _prepare(self, is_embedded: bool) -> None:
        announce("preparing topics, lake and metadata")
        output_path(self._directory.logs, "prepare").unlink(missing_ok=True)  # what it says is shown below
        flags = ("--embedded",) if is_embedded else ()
        command = command_of("prepare", "--data-dir", self._directory.root, *flags)
        status = self.supervisor.run_once(Child("prepare", command, *_API, environment=self._environment))
        if status is None:
            raise _Stopped
        if status:
            raise Failure(self._last_words("prepare"))
        for line in output_path(self._directory.logs, "prepare").read_text().splitlines():
            announce(f"  {line}")

    def _add_servers(self, workers: int) -> None:
        announce("starting API, workers and maintenance")
        count = self._settings.api_workers
        for name in ["api"] if count == 1 else [f"api-{number}" for number in range(count)]:
            command = (*api_command(name), "--fd", str(self._listener), "--logs", str(self._directory.logs))
            self.supervisor.add(Child(name, command, *_API, environment=self._environment, fds=(self._listener,)))
        for name in [f"worker-{number}" for number in range(workers)]:
            environment = worker_environment_of(self._settings)
            self.supervisor.add(Child(name, worker_command(name), *_WORKER, environment=environment, needs_log=True))
        self.supervisor.add(Child("maintain", maintain_command("maintain"), *_MAINTAIN, environment=self._environment))

    def _await_ready(self) -> None:
        host = _WILDCARDS.get(self._settings.host, self._settings.host)
        start = warned = time.monotonic()

        def is_ready() -> bool:
            nonlocal warned
            status, body = self._least_ready(host)
            now = time.monotonic()
            if status != 200 and now - warned > _PATIENCE_SECONDS:
                warned = now
                reasons = " ".join(body.decode(errors="replace").split()) or "the API does not answer"
                announce(f"not ready after {now - start:.0f} s: {reasons[:500]}; logs are in {self._directory.logs}")
            return status == 200

        self._watch(is_ready, 0.2)
        self._greet(self._running(()).url)

    def _least_ready(self, host: str) -> tuple[int, bytes]:
        """The first of several answers that is not 200: which API process answers is the kernel's choice."""
        count = self._settings.api_workers
        status, body = 0, b""
        for _ in range(1 if count == 1 else 4 * count):
            status, body = get_status(host, self._settings.port, "/health/ready")
            if status != 200:
                break
        return status, body

    def _greet(self, url: str) -> None:
        where, program = f"--data-dir {self._directory.root}", _program()
        announce(f"ready {url}")
        announce(f"  stop   Ctrl-C, or kill -TERM {os.getpid()}")
        announce(f"  logs   {self._directory.logs}")
        announce(f"  next   {program} init {where} --email you@example.org --password … --project web")
        announce(f"         {program} ps {where}")
        announce(f"         {program} doctor {where}")

    def _watch(self, until: Callable[[], bool], every_seconds: float) -> None:
        if not self.supervisor.watch(until, every_seconds):
            raise _Stopped

    def _last_words(self, name: str) -> str:
        path = output_path(self._directory.logs, name)
        return f"{last_line(path).removeprefix('streamgauge: ')}; see {path}"

    def _publish(self, members: Sequence[Member]) -> None:
        try:
            write_running(self._directory.run, self._running(members))
        except OSError as error:  # a full disk must not end those who can still answer
            announce(f"cannot write up.json ({error.strerror}); `streamgauge ps` is out of date")

    def _running(self, members: Sequence[Member]) -> Running:
        host = _WILDCARDS.get(self._settings.host, self._settings.host)
        bootstrap = self._settings.kafka_bootstrap_servers or ""
        return Running(os.getpid(), host, self._settings.port, bootstrap, tuple(members))
