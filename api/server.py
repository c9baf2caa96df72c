"""One API process: uvicorn around the app, from bound socket to last answer."""

import gc
import os
import signal
import socket
from pathlib import Path
from types import FrameType

import uvicorn
from prometheus_client import start_http_server

from api.app import assemble, create_app
from api.health import metrics_registry
from api.protocol import Protocol
from api.services import Services
from api.settings import ApiSettings
from storage.logs import configure_logging

# Answers in flight wait for the log at most as long as a record may take; then a little more.
_GRACE_SECONDS = 15
# Longer than the usual pause of a client's connection pool, so that it does not send into a closing one.
_KEEP_ALIVE_SECONDS = 75


class _Server(uvicorn.Server):
    """Says when it serves, and when it begins to stop."""

    def __init__(self, config: uvicorn.Config, services: Services, ready_file: Path) -> None:
        super().__init__(config)
        self._services = services
        self._ready_file = ready_file

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            # What is loaded by now stays: the collector need not look at it again and again, nor often at requests,
            # which make no cycles. That was a seventh of a request.
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 20)
            self._ready_file.write_text(f"{os.getpid()}\n")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ready_file.unlink(missing_ok=True)
        self._services.begin_to_stop()
        await super().shutdown(sockets)


def serve(
    settings: ApiSettings, name: str = "api", listener: socket.socket | None = None, logs: Path | None = None
) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code: 1 if the log had not taken every record.

    `listener` is a bound socket to serve on; without it host and port are bound, to be shared where several API
    processes run. Logs go to the directory `logs`, else to stderr. Raises OSError where a port is taken.
    """
    configure_logging(name, logs)
    services = assemble(settings)
    config = uvicorn.Config(
        create_app(settings, services),
        root_path=settings.root_path,
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = _Server(config, services, settings.directory.run / f"{name}.ready")

    def stop(_signal: int, _frame: FrameType | None) -> None:
        # Before uvicorn listens to signals; and after it, when it raises those it saw again, to no effect here.
        server.should_exit = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    bound = listener or _bind(settings)
    metrics = None
    if settings.metrics_port is not None:
        metrics, _ = start_http_server(settings.metrics_port, settings.metrics_host, metrics_registry())
    try:
        server.run([bound])
    finally:
        if metrics is not None:
            metrics.shutdown()
            metrics.server_close()
        bound.close()
    return 1 if services.unsent else 0


def _bind(settings: ApiSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.api_workers > 1:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((settings.host, settings.port))
    except OSError:
        bound.close()
        raise
    return bound
