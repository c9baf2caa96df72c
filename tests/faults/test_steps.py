"""kill -9 between every pair of steps of a flush: after the restart every line is there once."""

import signal

import pytest

from tests.faults.river import PATIENCE_SECONDS, River

STEPS = ("before F2", "before F3", "after F3", "before F4", "after F4", "before F5", "before F6", "after F6")


@pytest.mark.timeout(400)
def test_death_between_any_two_steps_loses_and_doubles_nothing(river: River) -> None:
    for number, step in enumerate(STEPS):
        river.send(14)
        # A group of its own: the lake says where to go on, and nobody waits for the dead member's session.
        worker = river.start(f"worker-{number}", crash_at=step, kafka_group=f"{river.group}-{number}")
        assert worker.wait(PATIENCE_SECONDS) == -signal.SIGKILL, f"{step}: {river.tail()}"
    river.send(14)
    last = river.start("worker-last")
    river.drain()
    assert river.stop("worker-last") == 0, river.tail()
    assert last.returncode == 0
    assert river.judge() == []
