"""What webhooks are told of a worker's commits: all of it, once, whoever dies when."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from processors import telling
from processors.telling import Teller
from schemas.instants import from_millis
from schemas.kept import Webhook
from storage.errors import Unavailable
from storage.lake.commit import Span
from storage.lake.tables import create_tables
from storage.meta.engine import Metadata, open_metadata
from storage.meta.kept import KeptRepository
from storage.meta.models import accounts, outbox, projects, told
from storage.meta.outbox import tell
from storage.meta.sealing import Sealer
from tests.processors.harness import Bench, FakeLog, drop
from tests.processors.records import CHAIN, PROJECT, RECEIVED, event_line

BEFORE = from_millis(RECEIVED) - timedelta(days=1)


class Scene:
    """A lake, a log, and a database with two projects, the first of which has a webhook of all events."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self.lake = root / "lake"
        self.lake.mkdir()
        create_tables(self.lake)
        self.log = FakeLog()
        self.stack = stack
        self.metadata: Metadata = stack.enter_context(open_metadata(f"sqlite:///{root / 'meta.db'}", root / "rev"))
        self.metadata.migrate()
        self._projects()
        self.things = KeptRepository(self.metadata, Sealer([b"0123456789abcdef" * 2]), lambda _: None)
        self.benches: list[Bench] = []

    def _projects(self) -> None:
        with self.metadata.write() as connection:
            for number in (PROJECT, 8):
                account = {"id": number, "email": f"{number}@example.org", "password_hash": "", "created_at": BEFORE}
                connection.execute(accounts.insert().values(account))
                names = {name: f"{name}{number}" for name in ("site_id", "website_id", "token")}
                row = {
                    "id": number,
                    "account_id": number,
                    "name": "p",
                    "domain": "",
                    "timezone": "UTC",
                    "public": False,
                } | names
                connection.execute(projects.insert().values(row | {"public": False, "created_at": BEFORE}))

    def hook(self, project: int = PROJECT, *events: str, made: datetime = BEFORE) -> str:
        body = Webhook(url="https://hooks.example.org/", events=events or ("event",))
        return self.things.create(project, body, None, made).id

    def fill(self, records: int, partition: int = 0, **header: Any) -> None:
        for _ in range(records):
            offset = self.log.end[partition]
            self.log.append(partition, [event_line(eventId=f"{partition}-{offset}-{n}") for n in range(2)])

    def worker(self) -> Bench:
        bench = Bench(self.lake, self.log)
        bench.worker.telling = Teller(self.metadata, bench.flusher.events.uri, CHAIN, 0.01)
        self.stack.callback(bench.worker.telling.close, 5)
        self.stack.callback(bench.close)
        return bench

    def waiting(self) -> list[tuple[str, str]]:
        """(webhook, event id) in the order of the outbox."""
        with self.metadata.read() as connection:
            rows = connection.execute(select(outbox).order_by(outbox.c.number)).all()
        assert len({row.id for row in rows}) == len(rows)
        return [(row.webhook_id, row.data.partition('"eventId":"')[2].partition('"')[0]) for row in rows]

    def positions(self) -> dict[int, int]:
        with self.metadata.read() as connection:
            return {row.partition: row.next for row in connection.execute(select(told))}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(tmp_path, stack)


def ids(start: int, end: int, partition: int = 0) -> list[str]:
    return [f"{partition}-{offset}-{n}" for offset in range(start, end) for n in range(2)]


async def settle(bench: Bench) -> None:
    """All that the worker noted is told."""
    await bench.flush()
    await asyncio.to_thread(bench.worker.telling.close, 5)


def test_flushes_are_told_in_the_order_of_the_log(scene: Scene) -> None:
    mine, other = scene.hook(), scene.hook(8)

    async def story() -> None:
        scene.fill(5)
        bench = scene.worker()
        bench.worker.assign({0})
        await bench.deliver(0, 0, 2)
        await bench.flush()
        await bench.deliver(0, 2, 5)
        await settle(bench)

    asyncio.run(story())
    assert scene.waiting() == [(mine, one) for one in ids(0, 5)]
    assert other not in dict(scene.waiting())
    assert scene.positions() == {0: 5}


def test_nothing_is_written_while_nobody_waits(scene: Scene) -> None:
    async def story() -> None:
        scene.fill(2)
        bench = scene.worker()
        bench.worker.assign({0})
        await bench.deliver(0, 0, 2)
        await settle(bench)

    asyncio.run(story())
    assert (scene.waiting(), scene.positions()) == ([], {})


def test_death_between_commit_and_outbox_is_healed_by_the_next_owner(scene: Scene) -> None:
    hook = scene.hook()

    async def story() -> None:
        scene.fill(6)
        first = scene.worker()
        first.worker.assign({0})
        await first.deliver(0, 0, 2)
        await settle(first)  # its thread has ended: what is noted from here on is told to nobody
        await first.deliver(0, 2, 4)
        await first.flush()
        assert scene.positions() == {0: 2}
        await drop(first)
        second = scene.worker()
        second.worker.assign({0})
        await second.worker.tick()
        await second.rest()
        await asyncio.to_thread(second.worker.telling.close, 5)
        assert scene.waiting() == [(hook, one) for one in ids(0, 4)]
        third = scene.worker()
        third.worker.assign({0})
        await third.deliver(0, 4, 6)
        await settle(third)

    asyncio.run(story())
    assert scene.waiting() == [(hook, one) for one in ids(0, 6)]


def test_a_webhook_made_later_is_told_nothing_of_before(scene: Scene) -> None:
    scene.hook(made=from_millis(RECEIVED) + timedelta(milliseconds=1))

    async def story() -> None:
        scene.fill(2)
        bench = scene.worker()
        bench.worker.assign({0})
        await bench.deliver(0, 0, 2)
        await settle(bench)

    asyncio.run(story())
    assert (scene.waiting(), scene.positions()) == ([], {0: 2})


def test_a_database_that_is_away_is_waited_for_beside_the_stream(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = scene.hook()
    failures: list[Exception] = [Unavailable("away"), RuntimeError("a defect")]

    def failing(*arguments: Any) -> int:
        if failures:
            raise failures.pop()
        return tell(*arguments)

    monkeypatch.setattr(telling, "tell", failing)

    async def story() -> None:
        scene.fill(4)
        bench = scene.worker()
        bench.worker.assign({0})
        await bench.deliver(0, 0, 2)
        await bench.flush()
        await bench.deliver(0, 2, 4)
        await settle(bench)

    asyncio.run(story())
    assert failures == []
    assert scene.waiting() == [(hook, one) for one in ids(0, 4)]


def test_two_tellers_of_one_partition_tell_once(scene: Scene) -> None:
    hook = scene.hook()

    async def story() -> None:
        scene.fill(3)
        bench = scene.worker()
        bench.worker.assign({0})
        await bench.deliver(0, 0, 3)
        await bench.flush()
        uri = bench.flusher.events.uri
        tellers = [Teller(scene.metadata, uri, CHAIN, 0.01) for _ in range(4)]
        for teller in tellers:
            teller.note({0: 3}, {0: Span(None, 3)}, None)
        for teller in tellers:
            await asyncio.to_thread(teller.close, 5)
        await settle(bench)

    asyncio.run(story())
    assert scene.waiting() == [(hook, one) for one in ids(0, 3)]


def test_noting_never_waits(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.hook()

    def slow(*_: object) -> dict[int, int]:
        time.sleep(0.5)
        return {}

    monkeypatch.setattr(telling, "told_positions", slow)
    teller = Teller(scene.metadata, str(scene.lake / "events"), CHAIN)
    started = time.monotonic()
    for position in range(1, 100):
        teller.note({0: position}, {}, None)
    assert time.monotonic() - started < 0.4
    teller.close(5)
