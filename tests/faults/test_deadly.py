"""A record that kills the process that decodes it: three workers die, the fourth finds the line and goes on."""

import json
import signal

import polars as pl
import pytest
from deltalake import DeltaTable

from processors.errors import Restart
from tests.faults.checker import read
from tests.faults.river import PATIENCE_SECONDS, River

MARKER = "deadly-marker"


@pytest.mark.timeout(400)
def test_deadly_lines_are_dead_letters_once_and_every_other_line_is_a_row(river: River) -> None:
    deadly = json.dumps({"event": MARKER, "eventId": "deadly", "userId": "u"}).encode()
    # First of its partition, so that no flush before it counts as progress.
    good = [json.dumps({"event": "a", "eventId": f"beside-{n}", "userId": "u"}).encode() for n in range(8)]
    for place in (2, 5):
        good.insert(place, deadly)
        river.sent.bad.add((0, 0, place))
    river.put(0, good)
    foreign = [b"", deadly, json.dumps({"event": "a", "projectId": river.project, "eventId": "foreign"}).encode()]
    river.settle()
    river.produce(0, b"\n".join(foreign), bad=1)
    river.sent.ids.update((river.project, one) for one in [*(f"beside-{n}" for n in range(8)), "foreign"])
    river.send(6)
    for number in range(3):
        # A group of its own: nobody waits for the dead member's session.
        worker = river.start(f"worker-{number}", crash_on=MARKER, kafka_group=f"{river.group}-{number}")
        assert worker.wait(PATIENCE_SECONDS) == -signal.SIGKILL, river.tail()
    assert river.positions()[0] == 0

    worker = river.start("worker-3", crash_on=MARKER)
    river.drain(120)

    assert worker.poll() is None
    assert river.judge() == []
    letters = read(DeltaTable(str(river.lake / "dead_letters"))).filter(pl.col("reason") == "crashed the decoder")
    assert letters["raw"].to_list() == [deadly] * 3
    assert len(river.said("a record kills the process that decodes it", "worker-3")) == 2
    river.send(4)
    river.drain()
    assert river.stop("worker-3") == 0


@pytest.mark.timeout(400)
def test_a_line_that_hangs_its_decoder_is_put_aside_too(river: River) -> None:
    river.produce(0, json.dumps({"event": MARKER, "projectId": river.project}).encode(), bad=0)
    river.send(6, bad_every=0)
    hanging = river.start("worker-0", hang_on=MARKER, watchdog_seconds=1, kafka_group=f"{river.group}-0")
    assert hanging.wait(PATIENCE_SECONDS) == Restart.exit_status, river.tail()
    assert river.said("the worker hangs")
    noted = river.run / "attempts" / "0.json"
    assert json.loads(noted.read_text())["n"] == 0
    noted.write_text(noted.read_text().replace('"n": 0', '"n": 2'))  # the deaths in between take their time

    worker = river.start("worker-1", hang_on=MARKER)
    river.drain(120)

    assert worker.poll() is None
    assert river.judge() == []
    letters = read(DeltaTable(str(river.lake / "dead_letters")))
    assert letters["reason"].to_list() == ["crashed the decoder"]
