"""An erased person does not come back: by what is taken and not flushed, by a replay, or by a commit under way."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.lake.audit import audit
from storage.lake.tables import create_tables
from storage.maintenance.erasure import erase
from storage.maintenance.merging import Resources
from tests.processors.harness import Bench, FakeLog
from tests.processors.judge import frame, position
from tests.processors.records import CHAIN, PROJECT, RECEIVED, door_record, event_line

AT = datetime.fromtimestamp(RECEIVED / 1000, UTC) + timedelta(seconds=1)


class Stage:
    """A log whose first two records are of ann and bob; the last line of ann's was received after her erasure."""

    def __init__(self, root: Path) -> None:
        self.lake = root / "lake"
        self.lake.mkdir()
        create_tables(self.lake)
        self.log = FakeLog(1)
        self.benches: list[Bench] = []
        for _ in range(2):
            self.send(RECEIVED)

    def send(self, received: int) -> None:
        offset = self.log.end[0]
        lines = [event_line(eventId=f"{user}{offset}", userId=user) for user in ("ann", "bob")]
        self.log.put(door_record(offset, lines, received=received))

    def worker(self) -> Bench:
        self.benches.append(Bench(self.lake, self.log))
        self.benches[-1].worker.assign({0})
        return self.benches[-1]

    def erase(self) -> None:
        erase(self.lake, PROJECT, "ann", AT, Resources(), lambda _: None)

    def ids(self) -> list[str]:
        events = frame(self.lake, "events")
        return [] if events.is_empty() else sorted(events["event_id"])


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    for bench in made.benches:
        bench.close()


def test_what_was_taken_before_is_read_again_and_counted_as_erased(stage: Stage) -> None:
    async def story() -> None:
        bench = stage.worker()
        await bench.deliver(0, 0, 2)
        await asyncio.to_thread(stage.erase)
        await bench.flush()
        assert stage.ids() == []
        await bench.worker.tick()
        assert bench.consumer.seeks == [(0, 0)], "nobody else would bring the records again"
        stage.send(RECEIVED + 2000)
        await bench.deliver(0, 0, 3)
        await bench.flush()
        assert bench.exits == []

    asyncio.run(story())
    assert stage.ids() == ["ann2", "bob0", "bob1", "bob2"], "what she sends after her erasure is kept"
    totals = {name: position(stage.lake, "events", CHAIN, 0, name) for name in ("lines", "rows", "erased")}
    assert totals == {"lines": 6, "rows": 4, "erased": 2}
    assert audit(stage.lake, "scan").failures == []


def test_commit_under_way_during_the_erasure_is_refused(stage: Stage) -> None:
    async def story() -> None:
        bench = stage.worker()
        await bench.deliver(0, 0, 2)
        reached, erased = threading.Event(), threading.Event()

        def wait() -> None:
            reached.set()
            assert erased.wait(30)

        bench.flusher.events.before = wait  # after the worker compared the list, before delta-rs commits
        flushing = asyncio.create_task(bench.flush())
        await asyncio.to_thread(reached.wait, 30)
        await asyncio.to_thread(stage.erase)
        erased.set()
        await flushing
        assert stage.ids() == []
        await bench.worker.tick()
        await bench.deliver(0, 0, 2)
        await bench.flush()
        assert bench.exits == []

    asyncio.run(story())
    assert stage.ids() == ["bob0", "bob1"]
    assert audit(stage.lake, "scan").failures == []


def test_replay_by_another_log_does_not_bring_the_person_back(stage: Stage) -> None:
    async def story() -> None:
        bench = stage.worker()
        await bench.deliver(0, 0, 2)
        await bench.flush()
        await asyncio.to_thread(stage.erase)
        stage.log.name = "cluster/mirrored"
        replay = stage.worker()
        await replay.deliver(0, 0, 2)
        await replay.flush()

    asyncio.run(story())
    assert stage.ids() == ["bob0", "bob1"]
    assert position(stage.lake, "events", "cluster/mirrored", 0, "erased") == 2
    assert audit(stage.lake, "scan").failures == []
