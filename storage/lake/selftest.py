"""Does the place of the lake refuse the second of two writers? All rests on it, so it is tried before each start."""

import shutil
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from storage.errors import LakeBroken
from storage.lake.place import Place
from storage.lake.tables import transactions

# delta-rs looks for newer versions before it commits, and mostly finds the other writer by that. Only two who look
# at the same moment depend on exclusive create, so they are made to, often enough that not every round misses.
ROUNDS = 4
_ROW = pa.table({"n": pa.array([1], pa.int64())})


def check_fence(lake: Place) -> None:
    """Stale handles of a scratch table commit under one application id, in turn and at once; one may land.

    Raises LakeBroken where both do, or where nothing can be written.
    """
    scratch = lake / f"_selftest-{uuid.uuid4().hex}"
    try:
        _probe(scratch)
        DeltaTable.create(str(scratch), schema=_ROW.schema)
        first, second = _handles(scratch)
        has_held = [_commits(first, "turn"), _commits(second, "turn")] == [True, False]
        has_held = has_held and all(_race(scratch, f"race-{number}") for number in range(ROUNDS))
    except (DeltaError, OSError) as error:
        advice = "" if isinstance(lake, Path) else "; check the bucket, AWS_ENDPOINT_URL, AWS_REGION and the keys"
        raise LakeBroken(f"the lake at {lake} cannot be written: {' '.join(str(error).split())}{advice}") from error
    finally:
        _remove(scratch)
    if not has_held:
        raise LakeBroken(
            f"the storage at {lake} lets two writers make the same version of a table, so events would be lost or"
            " counted twice; it needs exclusive create: hard links on a disk, conditional put in a store"
        )


def _probe(scratch: Place) -> None:
    """A store that cannot be reached says so at once here; delta-rs would try for minutes."""
    if isinstance(scratch, Path):
        scratch.mkdir(mode=0o700, parents=True)
    else:
        (scratch / "probe").write_bytes(b"")


def _handles(scratch: Place) -> tuple[DeltaTable, DeltaTable]:
    return DeltaTable(str(scratch)), DeltaTable(str(scratch))


def _race(scratch: Place, app: str) -> bool:
    """Whether exactly one of two writers who commit at the same moment lands."""
    start = threading.Barrier(2)

    def commit(table: DeltaTable) -> bool:
        start.wait()
        return _commits(table, app)

    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(commit, _handles(scratch))) == 1


def _commits(table: DeltaTable, app: str) -> bool:
    fence = CommitProperties(app_transactions=transactions({app: 1}))
    try:
        write_deltalake(table, _ROW, mode="append", commit_properties=fence)
    except CommitFailedError:
        return False
    return True


def _remove(scratch: Place) -> None:
    if isinstance(scratch, Path):
        shutil.rmtree(scratch, ignore_errors=True)
    else:
        scratch.remove_all()
