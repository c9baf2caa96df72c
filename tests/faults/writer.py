"""A writer that believes it owns every partition: the product's flush without Kafka and without a group.

`python -m tests.faults.writer LAKE RECORDS SEED [compare|trust]`; `trust` is the control that must fail:
it believes whatever its own handle says instead of comparing with the position that it holds.
"""

import logging
import random
import sys
from pathlib import Path

import pyarrow as pa

from processors.batch import Batch
from processors.errors import WorkerError
from processors.flush import Flusher
from processors.loading import WindowPolicy, load
from processors.partition import PartitionState
from storage.lake.commit import FencedTable, Span, Unclear
from tests.faults.checker import Sent
from tests.processors.harness import FakeLog, NoBarrier
from tests.processors.records import CHAIN, POLICY, PROJECT, event_line

PARTITIONS = 3
MOST_RECORDS = 12


def make_log(records: int) -> tuple[FakeLog, Sent]:
    """The same log for every writer: some lines are no events, some ids come twice."""
    log, sent = FakeLog(PARTITIONS), Sent()
    for partition in range(PARTITIONS):
        for offset in range(records):
            ids = [f"{partition}-{offset}-{n}" for n in range(3)]
            if offset % 7 == 6:
                ids[0] = f"{partition}-{offset - 1}-0"
            lines = [event_line(f"kind-{offset % 3}", eventId=one, userId=f"u{offset % 9}") for one in ids]
            sent.ids.update((PROJECT, one) for one in ids[:2])
            if offset % 5 == 4:
                lines[2] = b"{"
                sent.bad.add((partition, offset, 2))
            else:
                sent.ids[PROJECT, ids[2]] += 1
            log.append(partition, lines)
    return log, sent


class TrustingTable(FencedTable):
    """The control: without the comparison, only delta-rs' own check of handles is left."""

    def append(self, rows: pa.Table, spans: dict[int, Span], totals: dict[str, int], note: str) -> Unclear | None:  # type: ignore[override]
        believed = {partition: Span(self.position(partition), span.next) for partition, span in spans.items()}
        return super().append(rows, believed, totals, note)


def main() -> None:
    """Write until every position is at the end of the log."""
    lake, records, seed, mode = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log, _ = make_log(records)
    rng = random.Random(seed)
    events = (FencedTable if mode == "compare" else TrustingTable)(lake, "events", CHAIN)
    flusher = Flusher(
        events, FencedTable(lake, "dead_letters", CHAIN), FencedTable(lake, "rollups", CHAIN), NoBarrier()
    )
    try:
        write(flusher, log, rng)
    except WorkerError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_status)


def write(flusher: Flusher, log: FakeLog, rng: random.Random) -> None:
    """Batches of random partitions and lengths, as one worker would flush them."""
    states = {partition: _load(flusher, log, partition) for partition in range(PARTITIONS)}
    while any(state.next < log.end[partition] for partition, state in states.items()):
        batch = Batch()
        for partition in rng.sample(range(PARTITIONS), rng.randint(1, PARTITIONS)):
            state = states[partition]
            end = min(state.next + rng.randint(1, MOST_RECORDS), log.end[partition])
            records = [log.records[partition][offset] for offset in range(state.next, end)]
            batch.add(state.accept(records, POLICY), 1, 1.0)
        if batch.counts:
            flushed = flusher.flush(batch)
            assert flushed is not None
            for partition in flushed.reload:
                states[partition] = _load(flusher, log, partition)


def _load(flusher: Flusher, log: FakeLog, partition: int) -> PartitionState:
    loaded = load(flusher, log, partition, WindowPolicy(10**6, 10**6))
    return PartitionState(partition, 1, loaded.next, loaded.window, loaded.rejected)


if __name__ == "__main__":
    main()
