"""The lake as one question sees it: one version of the events table, the newest or one of the past."""

from datetime import UTC, datetime

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from schemas.questions import InvalidQuestion
from storage.errors import Gone
from storage.lake.pins import Pin, read_pins
from storage.lake.place import place_at, sizes
from storage.lake.snapshot import Snapshot, TableReader, snapshot_of
from storage.lake.tables import TableName, table_uri
from storage.query.lake import Lake

# What happened longer ago than vacuum waits may be gone; before, nothing is but for an erasure.
_NOT_KEPT = (
    "asOf: version {} is not kept any more: what newer versions replaced is deleted after a day,"
    " and by an erasure at once"
)


class PinnedLake(Lake):
    """Reads events at one version, however often it is asked and whatever is committed meanwhile. For one thread."""

    def __init__(self, lake: Lake, version: int, handle: DeltaTable | Pin | None = None) -> None:
        """`handle` is of that version where it is not the newest, or the pin of one that the log has forgotten."""
        super().__init__(lake.place, lake.max_age_seconds)
        self.pinned_version = version
        self.is_past = handle is not None
        self._lake = lake
        self._handle = handle

    def reader(self, name: TableName) -> TableReader:
        return self._lake.reader(name)

    def version(self, name: TableName) -> int:
        return self.pinned_version if name == "events" else self._lake.version(name)

    def snapshot(self, name: TableName, predicate: str | None = None) -> Snapshot:
        """Files of the pinned version; raises Gone where some were deleted."""
        if name != "events":
            return self._lake.snapshot(name, predicate)
        if not self.is_past:
            found = self._lake.reader(name).snapshot(predicate, float("inf"))
            if found.version == self.pinned_version:
                return _ordered(found)
        if self._handle is None:
            self._handle = DeltaTable(table_uri(self.place, name), version=self.pinned_version)
        if isinstance(self._handle, Pin):
            files = tuple(f"{table_uri(self.place, name)}/{file.path}" for file in self._handle.files)
            found = Snapshot(name, self.pinned_version, files)
        else:
            found = snapshot_of(self._handle, name, predicate)
        if self.is_past and None in sizes([place_at(file) for file in found.files]):
            raise Gone(_NOT_KEPT.format(self.pinned_version))
        return _ordered(found)

    def total(self, app: str) -> int:
        """One application transaction of a version of the past, 0 where it was never written."""
        assert self._handle is not None
        if isinstance(self._handle, Pin):
            return self._handle.transactions.get(app, 0)
        return self._handle.transaction_version(app) or 0


def _ordered(found: Snapshot) -> Snapshot:
    """The same files in the same order, whatever handle named them."""
    return Snapshot(found.table, found.version, tuple(sorted(found.files)))


def newest(lake: Lake) -> PinnedLake:
    """The version that is fresh enough now."""
    return PinnedLake(lake, lake.version("events"))


def as_of(lake: Lake, wanted: int | datetime) -> PinnedLake:
    """A version by its number, or the newest that was there at an instant. Raises InvalidQuestion or Gone."""
    newest_version = lake.version("events")
    uri = table_uri(lake.place, "events")
    if isinstance(wanted, int):
        if not 0 <= wanted <= newest_version:
            raise InvalidQuestion(f"Invalid parameter: asOf, the newest version is {newest_version}")
        return PinnedLake(lake, wanted, None if wanted == newest_version else _opened(lake, wanted))
    table = DeltaTable(uri)
    try:
        table.load_as_version(wanted)
        version = table.version()
        committed = table.history(limit=1)[0]["timestamp"]
    except (DeltaError, OSError, IndexError) as error:
        raise Gone(f"asOf: no version of {wanted.isoformat()} is kept any more") from error
    if datetime.fromtimestamp(committed / 1000, UTC) > wanted:
        raise Gone(f"asOf: no version of {wanted.isoformat()} is kept; the oldest is {version}")
    return PinnedLake(lake, version, None if version == newest_version else table)


def _opened(lake: Lake, version: int) -> DeltaTable | Pin:
    try:
        return DeltaTable(table_uri(lake.place, "events"), version=version)
    except (DeltaError, OSError) as error:
        for pin in read_pins(place_at(str(lake.place))):
            if pin.version == version:
                return pin
        raise Gone(_NOT_KEPT.format(version)) from error
