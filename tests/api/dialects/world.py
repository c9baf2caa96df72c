"""The whole API over real metadata and a real lake, with a river between them that runs when a test says so."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from api.app import assemble
from api.services import Services
from api.settings import ApiSettings
from processors.decode import LogRecord
from schemas.projects import Project
from schemas.rows import Row
from storage.meta.engine import open_metadata
from storage.meta.initialisation import Initialised, initialise
from tests.api.serving import run_app
from tests.factories import LakeWriter
from tests.fakes import FakeProducer
from tests.processors.records import items_of

EMAIL = "ann@example.org"
PASSWORD = "correct horse battery"


@dataclass(slots=True)
class World:
    """A running API with one account that has a project `Shop`; `others` are made with `another`."""

    url: str
    client: httpx.Client
    services: Services
    first: Initialised
    _producer: FakeProducer
    _writer: LakeWriter
    rows: list[Row] = field(default_factory=list)
    _next: dict[int, int] = field(default_factory=dict)
    _ids: set[tuple[int, str]] = field(default_factory=set)

    @property
    def project(self) -> Project:
        return self.first.project

    def secret(self, dialect: str) -> str:
        """The first account's key of a dialect."""
        return self.first.secrets[dialect]

    def another(self, email: str = EMAIL, project: str = "Blog", domain: str = "blog.example") -> Initialised:
        """One more project, of the same account or of another one."""
        return initialise(self.services.database, email, PASSWORD, project, domain, datetime.now(UTC))

    def flow(self) -> list[Row]:
        """What was accepted since the last call becomes rows of the lake, as the workers make them."""
        fresh: list[Row] = []
        records, self._producer.records = self._producer.records, []
        for record in records:
            offset = self._next.get(record.partition, 0)
            self._next[record.partition] = offset + 1
            headers = {name: value for name, value in record.headers.items() if isinstance(value, bytes)}
            at = int(datetime.now(UTC).timestamp() * 1000)
            for item in items_of(LogRecord(record.partition, offset, at, record.value, headers)):
                assert isinstance(item, Row), item
                if (item.project_id, item.event_id) not in self._ids:
                    self._ids.add((item.project_id, item.event_id))
                    fresh.append(item)
        self.append(fresh)
        return fresh

    def append(self, rows: list[Row]) -> None:
        """Rows straight into the lake."""
        self.rows += rows
        if rows:
            self._writer.append(rows)


@contextlib.contextmanager
def serving(directory: Path, **settings: Any) -> Iterator[World]:
    """A world in a directory of its own."""
    chosen = ApiSettings(data_dir=directory, **settings)
    chosen.directory.create()
    writer = LakeWriter(chosen.directory.lake)
    with open_metadata(chosen.metadata_url, chosen.directory.key_revision) as metadata:
        metadata.migrate()
        first = initialise(metadata, EMAIL, PASSWORD, "Shop", "shop.example", datetime.now(UTC))
    producer = FakeProducer()
    services = assemble(chosen, producer)
    services.analytics._lake.max_age_seconds = 0  # every answer as fresh as the last commit
    services.live_source = None
    with run_app(services) as (url, _), httpx.Client(base_url=url, timeout=30) as client:
        yield World(url, client, services, first, producer, writer)
