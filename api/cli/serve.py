"""One process each in the foreground, for systemd, compose and many hosts; `up` starts the same ones."""

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from api.cli.connection import resolve
from api.cli.options import DataDir, load
from api.cli.output import Failure
from api.cli.running import write_ready
from api.settings import ApiSettings
from storage.settings import StorageSettings

# Requests in flight wait for their delivery report (8 s at most) and are then answered.
_API_GRACE_SECONDS: Final = 15
# Connections the kernel keeps while a busy process gets round to them.
BACKLOG: Final = 2048


def environment_of(settings: StorageSettings) -> dict[str, str]:
    """What every process of ours finds in its environment: ours, plus where the data and the log are."""
    named = {
        "STREAMGAUGE_DATA_DIR": str(settings.directory.root),
        "PROMETHEUS_MULTIPROC_DIR": str(settings.directory.metrics),
    }
    if settings.kafka_bootstrap_servers:
        named["KAFKA_BOOTSTRAP_SERVERS"] = settings.kafka_bootstrap_servers
    return dict(os.environ) | named


def listen(host: str, port: int) -> socket.socket:
    """A bound socket that does not take connections yet: that begins when a server is there to answer them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Failure(
            f"port {port} on {host} cannot be used ({error.strerror}); free it, or choose another with --port"
        ) from error
    return listener


Name = Annotated[str | None, typer.Option(help="Name of this process in logs and in `ps`.", hidden=True)]


def api(
    host: Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [default: 8000].")] = None,
    data_dir: DataDir = None,
    root_path: Annotated[str | None, typer.Option(help="Path prefix that a proxy strips, such as /gauge.")] = None,
    name: Name = None,
    fd: Annotated[int | None, typer.Option(help="A bound socket to take over.", hidden=True)] = None,
) -> None:
    """Run one API process in the foreground."""
    settings = resolve(load(ApiSettings, data_dir, host=host, port=port, root_path=root_path))
    settings.directory.create()
    # Before the application is imported: the metrics library looks once, at its first import.
    os.environ.update(environment_of(settings))
    listener = listen(settings.host, settings.port) if fd is None else socket.socket(fileno=fd)
    sys.exit(_serve(settings, listener, name or "api"))


def _serve(settings: ApiSettings, listener: socket.socket, name: str) -> int:
    import uvicorn

    from api.app import create_app

    class Server(uvicorn.Server):
        """Says when it serves."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                write_ready(settings.directory.run, name)

    # uvicorn ends by raising the signal that stopped it once more; the process still ends with the status below.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    server = Server(
        uvicorn.Config(
            create_app(settings),
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="on",
            root_path=settings.root_path,
            backlog=BACKLOG,
            access_log=False,
            proxy_headers=False,  # the door reads them itself, from proxies that a setting names
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=_API_GRACE_SECONDS,
        )
    )
    server.run(sockets=[listener])
    return 0 if server.started and not server.lifespan.should_exit else 1


def worker(
    name: Annotated[str, typer.Option(help="Name of this process in logs and in `ps`.")] = "worker-0",
    data_dir: DataDir = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port for Prometheus on a host without an API.")] = None,
) -> None:
    """Run one worker in the foreground."""
    settings = resolve(load(StorageSettings, data_dir))
    named = {} if metrics_port is None else {"STREAMGAUGE_METRICS_PORT": str(metrics_port)}
    _become(worker_command(name), settings, named)


def maintain(
    name: Annotated[str, typer.Option(help="Name of this process in logs and in `ps`.")] = "maintain",
    data_dir: DataDir = None,
) -> None:
    """Run the lake's maintenance in the foreground."""
    _become(maintain_command(name), load(StorageSettings, data_dir), {})


def worker_command(name: str) -> tuple[str, ...]:
    """The command line of a worker; never imported here, since the two sides meet only in the log and the lake."""
    return (sys.executable, "-m", "processors", "--name", name)


def maintain_command(name: str) -> tuple[str, ...]:
    """The command line of the maintenance."""
    return (sys.executable, "-m", "storage.maintenance", "--name", name)


def command_of(*arguments: str | Path | int) -> tuple[str, ...]:
    """The command line of one of our own commands."""
    return (sys.executable, "-m", "api.cli", *(str(argument) for argument in arguments))


def _become(command: tuple[str, ...], settings: StorageSettings, named: dict[str, str]) -> None:
    settings.directory.create()
    os.execve(command[0], command, environment_of(settings) | named)
