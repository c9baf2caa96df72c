"""One process each in the foreground, for systemd, compose and many hosts; `up` starts the same ones."""

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from api.cli import embedded
from api.cli.connection import resolve
from api.cli.options import DataDir, load
from api.cli.output import Failure
from api.settings import ApiSettings
from storage.settings import StorageSettings

# One heap, and Arrow's columns in it: what one thread frees another can use. It saves a worker 90 to 250 MB and costs
# no time; it must be there before the program starts, and what the environment says already goes before it.
_WORKER_MEMORY = {"MALLOC_ARENA_MAX": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}


def environment_of(settings: StorageSettings) -> dict[str, str]:
    """What every process of ours finds in its environment: ours, plus where the data and the log are."""
    named = {
        "STREAMGAUGE_DATA_DIR": str(settings.directory.root),
        "PROMETHEUS_MULTIPROC_DIR": str(settings.directory.metrics),
    }
    if isinstance(settings, ApiSettings):  # what the command line may have named
        named |= {
            "STREAMGAUGE_HOST": settings.host,
            "STREAMGAUGE_PORT": str(settings.port),
            "STREAMGAUGE_ROOT_PATH": settings.root_path,
            "STREAMGAUGE_API_WORKERS": str(settings.api_workers),
        }
    if settings.kafka_bootstrap_servers:
        named["KAFKA_BOOTSTRAP_SERVERS"] = settings.kafka_bootstrap_servers
    return dict(os.environ) | named


def worker_environment_of(settings: StorageSettings) -> dict[str, str]:
    """The same for a worker, which holds a backlog's columns in memory."""
    return _WORKER_MEMORY | environment_of(settings)


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


def api(
    host: Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [default: 8000].")] = None,
    data_dir: DataDir = None,
    root_path: Annotated[str | None, typer.Option(help="Path prefix that a proxy strips, such as /gauge.")] = None,
    name: Annotated[str, typer.Option(help="Name of this process in logs.")] = "api",
) -> None:
    """Run one API process in the foreground."""
    settings = resolve(load(ApiSettings, data_dir, host=host, port=port, root_path=root_path))
    settings.directory.create()
    listener = listen(settings.host, settings.port)  # here, where a taken port is told in one line
    listener.set_inheritable(True)
    _become((*api_command(name), "--fd", str(listener.fileno())), settings)


def worker(
    name: Annotated[str, typer.Option(help="Name of this process in logs and in `ps`.")] = "worker-0",
    data_dir: DataDir = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port for Prometheus on a host without an API.")
    ] = None,
) -> None:
    """Run one worker in the foreground."""
    settings = resolve(load(StorageSettings, data_dir))
    named = {} if metrics_port is None else {"STREAMGAUGE_WORKER_METRICS_PORT": str(metrics_port)}
    _become(worker_command(name), settings, worker_environment_of(settings) | named)


def broker(
    data_dir: DataDir = None,
    fetch_only: Annotated[bool, typer.Option("--fetch-only", help="Only fetch what it needs, and end.")] = False,
) -> None:
    """Run the embedded Kafka broker in the foreground."""
    settings = load(embedded.BrokerSettings, data_dir)
    if fetch_only:
        embedded.fetch(settings)
    else:
        embedded.run(settings)


def maintain(
    name: Annotated[str, typer.Option(help="Name of this process in logs and in `ps`.")] = "maintain",
    data_dir: DataDir = None,
) -> None:
    """Run the lake's maintenance in the foreground."""
    _become(maintain_command(name), load(StorageSettings, data_dir))


def api_command(name: str) -> tuple[str, ...]:
    """The command line of an API process."""
    return (sys.executable, "-m", "api", "--name", name)


def worker_command(name: str) -> tuple[str, ...]:
    """The command line of a worker; never imported here, since the two sides meet only in the log and the lake."""
    return (sys.executable, "-m", "processors", "--name", name)


def adopt_command() -> tuple[str, ...]:
    """The command line that lets the lake go on with a copy of its log; the workers' side knows logs."""
    return (sys.executable, "-m", "processors.adopt")


def maintain_command(name: str) -> tuple[str, ...]:
    """The command line of the maintenance."""
    return (sys.executable, "-m", "storage.maintenance", "--name", name)


def command_of(*arguments: str | Path | int) -> tuple[str, ...]:
    """The command line of one of our own commands."""
    return (sys.executable, "-m", "api.cli", *(str(argument) for argument in arguments))


def _become(command: tuple[str, ...], settings: StorageSettings, environment: Mapping[str, str] | None = None) -> None:
    """This process turns into another program, so that signals reach it with nobody in between."""
    settings.directory.create()
    os.execve(command[0], command, dict(environment or environment_of(settings)))
