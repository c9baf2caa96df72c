"""An API process's app on a real port, inside the test's process."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvicorn

from api.app import assemble, create_app
from api.protocol import Protocol
from api.services import Services
from api.settings import ApiSettings
from schemas.projects import Dialect, Key, Project, Scope
from tests.fakes import FakeKeys, FakeProducer

T = TypeVar("T")

PROJECT = Project(7, 1, "Shop", "shop.example", "UTC", "site_7", "7", "7")
OTHER = Project(8, 2, "Other", "other.example", "UTC", "site_8", "8", "8")
KEYS: dict[bytes, Key] = {
    b"sg_admin": Key("key_1", Dialect.JCHT, Scope.ADMIN, 1, 7),
    b"sg_ingest": Key("key_2", Dialect.JCHT, Scope.INGEST, 1, 7),
    b"sg_read": Key("key_3", Dialect.JCHT, Scope.READ, 1, 7),
    b"sg_account": Key("key_4", Dialect.JCHT, Scope.ADMIN, 1, None),
    b"sg_source": Key("key_6", Dialect.JCHT, Scope.INGEST, 1, 7, source="src_a1B2c3D4e5F6"),
    b"bj_live_admin": Key("key_5", Dialect.JETRACK, Scope.ADMIN, 1, 7),
}


@dataclass(slots=True)
class Served:
    """A running API, a client that is authenticated to it, and its insides."""

    url: str
    client: httpx.Client
    services: Services
    producer: FakeProducer
    keys: FakeKeys
    loop: asyncio.AbstractEventLoop

    def call(self, function: Callable[[], T]) -> T:
        """Run a function on the API's event loop."""

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)


def wait_until(condition: Callable[[], Any], seconds: float = 20, what: str = "the condition") -> None:
    """Return as soon as it holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about within {seconds} s"
        time.sleep(0.01)


@contextlib.contextmanager
def run_app(services: Services, grace_seconds: int = 15) -> Iterator[tuple[str, asyncio.AbstractEventLoop]]:
    """Serve on a free port in a thread; yields the URL and the loop."""
    settings = services.settings
    config = uvicorn.Config(
        create_app(settings, services),
        root_path=settings.root_path,
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=grace_seconds,
    )
    server = uvicorn.Server(config)
    bound = socket.create_server(("127.0.0.1", 0))
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve([bound])

    factory = config.get_loop_factory()
    thread = threading.Thread(target=lambda: asyncio.Runner(loop_factory=factory).run(serve()), daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), what="the server's start")
        assert server.started, "the app did not start"
        yield f"http://127.0.0.1:{bound.getsockname()[1]}", loops[0]
    finally:
        server.should_exit = True
        thread.join(30)
        bound.close()
        assert not thread.is_alive()


@contextlib.contextmanager
def serve_fake(directory: Path, grace_seconds: int = 15, **settings: Any) -> Iterator[Served]:
    """The API over a fake log and fake keys, without rate limits unless asked for."""
    settings = {"rate_limits": False, **settings}
    keys = FakeKeys(dict(KEYS), {7: PROJECT, 8: OTHER})
    producer = FakeProducer()
    services = assemble(ApiSettings(data_dir=directory, **settings), producer, keys, keys.find_project)
    with (
        run_app(services, grace_seconds) as (url, loop),
        httpx.Client(base_url=url, headers={"X-API-Key": "sg_admin"}, timeout=30) as client,
    ):
        yield Served(url, client, services, producer, keys, loop)
