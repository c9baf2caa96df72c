"""The app on a real socket, with a fake log, fake keys and a live source that the test feeds."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from api.app import assemble
from api.live.recent import RecentEvents
from api.services import Services
from api.settings import ApiSettings
from schemas.projects import Dialect, Key, Project, Scope
from tests.api.live.messages import FakeSource
from tests.api.serving import run_app
from tests.fakes import FakeKeys, FakeProducer

READ = {"X-API-Key": "read"}


@dataclass(frozen=True, slots=True)
class Running:
    """A served app."""

    url: str
    source: FakeSource
    keys: FakeKeys
    services: Services
    loop: asyncio.AbstractEventLoop


@contextlib.contextmanager
def running(directory: Path, recent: RecentEvents | None = None, root_path: str = "") -> Iterator[Running]:
    """Serve until the block ends."""
    keys = FakeKeys(
        {
            b"read": Key("k1", Dialect.JCHT, Scope.READ, 1, 1),
            b"ingest": Key("k2", Dialect.JCHT, Scope.INGEST, 1, 1),
            b"account": Key("k3", Dialect.JCHT, Scope.READ, 1, None),
            b"ovyxa": Key("k4", Dialect.OVYXA, Scope.READ, 1, 1),
        },
        {2: Project(2, 1, "two", "two.example", "UTC", "site_2", "w", "t")},
    )
    source = FakeSource()
    settings = ApiSettings(data_dir=directory, root_path=root_path, rate_limits=False)
    services = assemble(settings, FakeProducer(partitions=1), keys, keys.find_project, source)
    services.recent = recent
    with run_app(services) as (url, loop):
        yield Running(url, source, keys, services, loop)
    assert source.is_stopped
