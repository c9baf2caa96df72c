"""A lake that cannot be written: what was taken is kept, nothing is skipped, and it goes on by itself."""

import resource
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.river import River, wait_for

REFUSED = "a commit was refused"


def test_full_disk_keeps_what_was_taken_and_resumes(river: River) -> None:
    """A limit on the size of files stands for the full disk: write(2) fails inside delta-rs, for root too."""
    river.send(8, bad_every=0)
    worker = river.start()
    river.drain()
    limit = 24 * 1024
    assert (river.logs / "worker-0.log").stat().st_size < limit
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    stood = river.positions()
    river.send(8, lines=50, padding=400)
    wait_for(lambda: len(river.said(REFUSED)) >= 2, river.tail)
    assert "os error 27" in str(river.said(REFUSED)[0])  # EFBIG
    assert river.positions() == stood
    assert worker.poll() is None
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    river.drain()
    assert river.judge() == []
    assert worker.poll() is None


def _block(table: Path) -> Path:
    """A file where today's directory belongs, which even root cannot write into."""
    directory = table / f"date={datetime.now(UTC).date()}"
    assert not directory.exists()
    directory.write_bytes(b"")
    return directory


def test_dead_letters_that_cannot_be_written_block_the_flush(river: River) -> None:
    obstacle = _block(river.lake / "dead_letters")
    river.send(7)  # the seventh record has a bad line
    assert river.sent.bad
    worker = river.start()
    wait_for(lambda: len(river.said(REFUSED)) >= 2, river.tail)
    assert sum(river.positions().values()) == 0
    obstacle.unlink()
    river.drain()
    assert river.judge() == []
    assert worker.poll() is None


def test_rollups_that_cannot_be_written_are_caught_up(river: River) -> None:
    obstacle = _block(river.lake / "rollups")
    river.send(6)
    river.start()
    wait_for(lambda: bool(river.said("rollups are behind")), river.tail)
    assert river.positions() == river.ends()
    obstacle.unlink()
    river.send(6)
    river.drain()
    assert river.judge() == []


def test_failed_fsync_ends_the_worker_before_the_offset_is_committed(river: River) -> None:
    """run/synced.json cannot be replaced: nothing that follows may rely on the disk."""
    river.send(4)
    (river.run / "synced.json").mkdir()
    (river.run / "synced.json" / "full").write_bytes(b"")
    worker = river.start()
    assert worker.wait(90) == 75, river.tail()
    (river.run / "synced.json" / "full").unlink()
    (river.run / "synced.json").rmdir()
    river.start("worker-1", kafka_group=f"{river.group}-1")
    river.drain()
    assert river.judge() == []
