"""Does the place of the lake refuse the second of two writers? All rests on it, so it is tried before each start."""

import shutil
import uuid
from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from storage.errors import LakeBroken
from storage.lake.place import Place
from storage.lake.tables import transactions

_ROW = pa.table({"n": pa.array([1], pa.int64())})


def check_fence(lake: Place) -> None:
    """Two stale handles of a scratch table commit under one application id. Raises LakeBroken unless one is refused."""
    scratch = lake / f"_selftest-{uuid.uuid4().hex}"
    try:
        _probe(scratch)
        DeltaTable.create(str(scratch), schema=_ROW.schema)
        first, second = DeltaTable(str(scratch)), DeltaTable(str(scratch))
        _commit(first)
        _expect_refusal(second, lake)
    except (DeltaError, OSError) as error:
        advice = "" if isinstance(lake, Path) else "; check the bucket, AWS_ENDPOINT_URL, AWS_REGION and the keys"
        raise LakeBroken(f"the lake at {lake} cannot be written: {' '.join(str(error).split())}{advice}") from error
    finally:
        _remove(scratch)


def _probe(scratch: Place) -> None:
    """A store that cannot be reached says so at once here; delta-rs would try for minutes."""
    if isinstance(scratch, Path):
        scratch.mkdir(mode=0o700, parents=True)
    else:
        (scratch / "probe").write_bytes(b"")


def _commit(table: DeltaTable) -> None:
    fence = CommitProperties(app_transactions=transactions({"selftest": 1}))
    write_deltalake(table, _ROW, mode="append", commit_properties=fence)


def _expect_refusal(table: DeltaTable, lake: Place) -> None:
    try:
        _commit(table)
    except CommitFailedError:
        return
    raise LakeBroken(
        f"the storage at {lake} lets two writers make the same version of a table, so events would be lost or counted"
        " twice; it needs exclusive create: hard links on a disk, conditional put (If-None-Match) in a store"
    )


def _remove(scratch: Place) -> None:
    if isinstance(scratch, Path):
        shutil.rmtree(scratch, ignore_errors=True)
    else:
        scratch.remove_all()
