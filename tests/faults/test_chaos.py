"""Minutes of random faults on real processes, and the naive sink that must fail the same checker."""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.broker.process import Broker
from tests.faults.chaos import Chaos
from tests.faults.checker import check_lake, check_rows, read_naive
from tests.faults.river import River, river_of, wait_for

LONG_SECONDS = float(os.environ.get("STREAMGAUGE_CHAOS_SECONDS", "300"))
SHORT_SECONDS = 60.0
CONTROL_SECONDS = 45.0
SEED = int(os.environ.get("STREAMGAUGE_CHAOS_SEED", random.randrange(10**6)))


@pytest.fixture
def wild_river(own_broker: Broker, tmp_path: Path) -> Iterator[River]:
    """Four partitions on a broker that is killed now and then."""
    with river_of(own_broker.bootstrap_servers, tmp_path, partitions=4) as made:
        yield made


def _survive(river: River, broker: Broker, seconds: float) -> Chaos:
    """Chaos, then calm; every line of the log is in the lake once, and every acknowledged one in the log."""
    chaos = Chaos(river, broker, SEED)
    print(f"chaos: seed {SEED}, {seconds:.0f} s")
    chaos.run(seconds)
    ends, chain = river.ends(), river.chain()

    def is_drained() -> bool:
        chaos.keep_alive()
        return river.positions("events", chain) == ends and river.positions("rollups", chain) == ends

    wait_for(is_drained, lambda: f"{river.positions('events', chain)} of {ends}; {river.tail()}", 180)
    sent = river.read_log()
    refused = sum(len(river.said("a commit was refused", f"worker-{n}")) for n in range(chaos.counts["start"]))
    print(f"chaos: {sent.lines} lines, {len(sent.ids)} events, {refused} refusals, {dict(chaos.counts)}")
    assert river.sent.ids.keys() <= sent.ids.keys(), "acknowledged, but not in the log"
    assert check_lake(river.lake, chain, ends, sent) == []
    assert chaos.counts["kill"] > 0, "INVALID: nobody was killed"
    return chaos


@pytest.mark.timeout(400)
def test_a_minute_of_chaos(wild_river: River, own_broker: Broker) -> None:
    _survive(wild_river, own_broker, SHORT_SECONDS)


def _naive(river: River, broker: Broker, seconds: float) -> list[str]:
    """The same weather for the naive sink; what the checker says of it."""
    chaos = Chaos(river, broker, SEED, "tests.faults.naive")
    chaos.run(seconds)
    folder = river.settings.data_dir / "naive"
    quiet_since, files = time.monotonic(), -1
    deadline = time.monotonic() + 60
    while time.monotonic() < min(deadline, quiet_since + 15):
        chaos.keep_alive()
        if (now := len(list(folder.glob("*.parquet")))) != files:
            quiet_since, files = time.monotonic(), now
        time.sleep(0.5)
    wrong = check_rows(read_naive(folder), river.read_log())
    print(f"naive sink: seed {SEED}, {files} files, {dict(chaos.counts)}, wrong: {wrong}")
    assert files > 0, "INVALID: the naive sink wrote nothing"
    return wrong


@pytest.mark.timeout(400)
def test_naive_sink_fails_the_same_checker(wild_river: River, own_broker: Broker) -> None:
    assert _naive(wild_river, own_broker, CONTROL_SECONDS) != []


@pytest.mark.fault
@pytest.mark.timeout(LONG_SECONDS + 600)
def test_long_chaos(wild_river: River, own_broker: Broker) -> None:
    chaos = _survive(wild_river, own_broker, LONG_SECONDS)
    assert chaos.counts["broker"] > 0, "INVALID: the broker was never killed"
    assert chaos.counts["thaw"] > 0, "INVALID: there was no zombie"


@pytest.mark.fault
@pytest.mark.timeout(LONG_SECONDS + 600)
def test_long_chaos_with_the_naive_sink_fails(wild_river: River, own_broker: Broker) -> None:
    assert _naive(wild_river, own_broker, LONG_SECONDS / 2) != []
