"""A syncer over real metadata, the real intake and a log in memory, with a clock that a test moves."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from api.connectors.catalogue import Catalogue
from api.connectors.syncer import Syncer
from api.ingest.door import Door
from api.ingest.intake import Intake
from api.ingest.refusals import Refusals
from api.ingest.tally import Tally
from api.log.coalescer import Budget
from schemas.events import EventLimits
from schemas.kept import Source, Sync
from schemas.projects import Project
from storage.lake.erased import Erased
from storage.meta.activities import Actor
from storage.meta.engine import open_metadata
from storage.meta.initialisation import initialise
from storage.meta.kept import Kept, KeptRepository
from storage.meta.sealing import Sealer
from storage.meta.sources import create_source, request_sync
from tests.api.connectors.providers import Providers
from tests.fakes import FakeProducer

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass
class Pull:
    """One project's sources and whoever pulls them."""

    things: KeptRepository
    project: Project
    account_id: int
    providers: Providers
    producer: FakeProducer
    intake: Intake
    catalogue: Catalogue
    now: datetime = NOW
    erased: Erased = field(default_factory=Erased)

    @property
    def by(self) -> Actor:
        return Actor(self.account_id)

    def syncer(self) -> Syncer:
        return Syncer(self.things, self.intake, self.catalogue, lambda: self.erased, lambda: self.now)

    def source(self, provider: str, credentials: dict[str, Any], start: datetime) -> str:
        """A source that is due from an instant on."""
        secret = json.dumps(credentials).encode()
        made, _ = create_source(
            self.things, self.project.id, Source(provider=provider, name="Old"), secret, self.by, NOW
        )
        self.ask(made.id, start)
        return made.id

    def ask(self, source_id: str, start: datetime | None = None) -> None:
        request_sync(self.things, self.project.id, source_id, start, self.by, self.now)

    def one(self, source_id: str) -> Kept[Source]:
        found = self.things.get(Source, self.project.id, source_id)
        assert found is not None
        return found

    def sync(self, source_id: str) -> Sync:
        found = self.one(source_id).body.sync
        assert found is not None
        return found

    async def pull(self) -> None:
        """What is due now, to its end."""
        syncer = self.syncer()
        await syncer.step()
        await syncer.idle()

    def events(self) -> list[dict[str, Any]]:
        """What the log has."""
        return [
            json.loads(line)
            for record in self.producer.records
            for segment in record.segments()
            for line in segment.lines
        ]

    def ids(self) -> list[str]:
        return [event["eventId"] for event in self.events()]


@contextlib.asynccontextmanager
async def pulling(root: Path, producer: FakeProducer | None = None) -> AsyncIterator[Pull]:
    """Providers, metadata and a log that are there while the block runs."""
    providers, producer, tally = Providers(), producer or FakeProducer(), Tally()
    refusals = Refusals(root)
    with contextlib.ExitStack() as stack:
        metadata = stack.enter_context(open_metadata(f"sqlite:///{root / 'meta.db'}", root / "rev"))
        metadata.migrate()
        first = initialise(metadata, "ann@example.org", "correct horse battery", "Shop", "shop.example", NOW)
        things = KeptRepository(metadata, Sealer([b"0123456789abcdef" * 2]), lambda _: None)
        stack.callback(refusals.close)
        await producer.start()
        door = Door(producer, Budget(100_000, 64 * 1024**2), "door-0", tally)
        door.open()
        stack.callback(door.close)
        async with providers.serving():
            yield Pull(
                things,
                first.project,
                first.account.id,
                providers,
                producer,
                Intake(door, EventLimits(), tally, refusals),
                Catalogue(root, 0, providers.addresses),
            )


async def until(condition: Callable[[], Any]) -> None:
    """Return as soon as it holds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)
