"""The check of each minute, under a clock of the test's own."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from api import checking
from api.checking import check_every_minute
from api.health import Readiness
from storage.errors import Unavailable
from storage.meta.checks import checked_days, latest_check
from storage.meta.engine import Metadata, open_metadata

START = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC).timestamp()


@pytest.fixture
def metadata(tmp_path: Path) -> Iterator[Metadata]:
    with open_metadata(f"sqlite:///{tmp_path / 'meta.db'}", tmp_path / "keys.rev") as opened:
        opened.migrate()
        yield opened


class Clock:
    """Time that passes only by sleeping; after `most` sleeps the sleeper is cancelled."""

    def __init__(self, most: int) -> None:
        self.now = START
        self._left = most

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if self._left == 0:
            raise asyncio.CancelledError
        self._left -= 1
        self.now += seconds


def _run(metadata: Metadata, readiness: Readiness, minutes: int) -> None:
    clock = Clock(minutes)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(check_every_minute(readiness, metadata, clock, clock.sleep))


def test_checks_are_sixty_seconds_apart_on_the_minute(metadata: Metadata) -> None:
    readiness = Readiness()
    _run(metadata, readiness, 3)
    [day] = checked_days(metadata, 90, datetime(2026, 3, 1, 13, tzinfo=UTC))
    assert (day.total, day.ok) == (3, 3)
    latest = latest_check(metadata)
    assert latest is not None
    assert latest.at == datetime(2026, 3, 1, 12, 3, tzinfo=UTC)


def test_what_is_not_ready_is_not_ok(metadata: Metadata) -> None:
    readiness = Readiness()

    async def reasons() -> list[str]:
        return ["the log is away"]

    readiness.add(reasons)
    _run(metadata, readiness, 1)
    latest = latest_check(metadata)
    assert latest is not None
    assert not latest.is_ok


def test_a_database_that_is_away_ends_nothing(metadata: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise Unavailable("the database is away")

    monkeypatch.setattr(checking, "latest_check", away)
    _run(metadata, Readiness(), 2)
    monkeypatch.undo()
    assert latest_check(metadata) is None
