"""Pins: versions of `events` whose files vacuum leaves alone, each a small JSON file beside the tables.

A pin lists its files itself: the log forgets old versions after two days. Erasure goes before a pin
(docs/decisions/0015-pins.md): files that held the erased are deleted, and what they were pinned for is not whole.
"""

import re
from datetime import datetime
from pathlib import Path

import msgspec
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from storage.errors import Conflict, LakeBroken, NotFound, Refused
from storage.lake.deltalog import transactions_of
from storage.lake.place import Place, names_in, sizes
from storage.lake.tables import table_uri

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SUFFIX = ".json"


class PinnedFile(msgspec.Struct, frozen=True):
    """A data file, its path below the table."""

    path: str
    size: int


class Pin(msgspec.Struct, frozen=True):
    """A version of `events` that somebody needs for longer than vacuum keeps it."""

    name: str
    version: int
    pinned_at: datetime
    files: tuple[PinnedFile, ...]
    transactions: dict[str, int]

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)

    def missing(self, lake: Place) -> int:
        """How many of its files were deleted: they held somebody who was erased."""
        return sizes([lake / "events" / file.path for file in self.files]).count(None)


def make_pin(lake: Place, name: str, version: int | None, now: datetime) -> Pin:
    """Pin a version of events, by default the newest. Raises Refused, Conflict, NotFound."""
    place = _place(lake, name)
    if name in {pin.name for pin in read_pins(lake)}:
        raise Conflict(f"there is a pin {name} already; `streamgauge lake unpin {name}` lets it go")
    try:
        table = DeltaTable(table_uri(lake, "events"), version=version)
    except (DeltaError, OSError) as error:
        raise NotFound(f"events has no version {version} any more: see `streamgauge lake history`") from error
    actions = table.get_add_actions(flatten=True)
    columns = (actions.column(column).to_pylist() for column in ("path", "size_bytes"))
    files = tuple(PinnedFile(path, size) for path, size in zip(*columns, strict=True))
    pin = Pin(name, table.version(), now, files, transactions_of(lake / "events", table.version()))
    _write(place, pin)
    if missing := pin.missing(lake):  # looked at when vacuum knows of it
        place.unlink(missing_ok=True)
        raise NotFound(f"version {pin.version} is not whole any more: {missing} of its files were deleted already")
    return pin


def remove_pin(lake: Place, name: str) -> None:
    """Let vacuum have its files. Raises Refused, NotFound."""
    place = _place(lake, name)
    if sizes([place]) == [None]:
        raise NotFound(f"there is no pin {name}; `streamgauge lake pins` lists them")
    place.unlink(missing_ok=True)


def read_pins(lake: Place) -> list[Pin]:
    """All pins, by name. Raises LakeBroken where one cannot be read: what it keeps is then not known."""
    try:
        names = sorted(name for name in names_in(lake / "pins") if name.endswith(_SUFFIX))
    except FileNotFoundError:
        return []
    return [_read(lake / "pins" / name) for name in names]


def _read(place: Place) -> Pin:
    try:
        return msgspec.json.decode(place.read_bytes(), type=Pin)
    except (OSError, msgspec.MsgspecError) as error:
        raise LakeBroken(f"the pin {place} cannot be read ({error}): mend it or delete it") from error


def _place(lake: Place, name: str) -> Place:
    if not _NAME.fullmatch(name):
        raise Refused("a pin is named by up to 64 letters, digits, dots, dashes and underscores")
    return lake / "pins" / f"{name}{_SUFFIX}"


def _write(place: Place, pin: Pin) -> None:
    data = msgspec.json.encode(pin)
    if not isinstance(place, Path):
        place.write_bytes(data)
        return
    place.parent.mkdir(mode=0o700, exist_ok=True)
    aside = place.with_suffix(".new")
    aside.write_bytes(data)
    aside.replace(place)
