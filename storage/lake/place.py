"""Where a lake is: a directory of this host, or a prefix of an S3-compatible store.

A local lake is a plain `Path`. `S3Place` answers what the lake's code asks of a path, and no more.
What only a local disk has (fsync, boot check, temporaries of killed writers) asks `isinstance(place, Path)`.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import duckdb

if TYPE_CHECKING:
    import pyarrow as pa

SCHEME = "s3://"


@dataclass(frozen=True, slots=True)
class S3Place:
    """One object or prefix: `s3://bucket/…`, without a slash at its end."""

    uri: str

    def __str__(self) -> str:
        return self.uri

    def __truediv__(self, name: str) -> "S3Place":
        return S3Place(f"{self.uri}/{name}")

    @property
    def name(self) -> str:
        return self.uri.rsplit("/", 1)[-1]

    @property
    def key(self) -> str:
        """`bucket/…`, as Arrow names it."""
        return self.uri.removeprefix(SCHEME)

    def absolute(self) -> "S3Place":
        return self

    def read_bytes(self) -> bytes:
        """The whole object. Raises FileNotFoundError."""
        from storage.lake.objects import store

        with store().open_input_stream(self.key) as stream:
            found: bytes = stream.read()
        return found

    def write_bytes(self, data: bytes) -> None:
        with self.open_to_write() as stream:
            stream.write(data)

    def open_to_write(self) -> "pa.NativeFile":
        """A stream; the object appears when it is closed."""
        from storage.lake.objects import store

        return store().open_output_stream(self.key, compression=None)

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete one object; one that is not there is no error, whatever is asked: S3 does not say."""
        from storage.lake.objects import store

        try:
            store().delete_file(self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def remove_all(self) -> None:
        """Delete everything below a prefix; what the store refuses stays, as litter."""
        from storage.lake.objects import store

        with suppress(OSError):
            store().delete_dir(self.key)


Place: TypeAlias = Path | S3Place


def place_at(uri: str) -> Place:
    """The place that a URI names: `s3://…`, or a path."""
    return S3Place(uri.rstrip("/")) if uri.startswith(SCHEME) else Path(uri.removeprefix("file://"))


def names_in(place: Place) -> list[str]:
    """Names directly below a directory or prefix. Raises FileNotFoundError."""
    if isinstance(place, Path):
        return os.listdir(place)
    from storage.lake.objects import listing

    return listing(place.key)


def sizes(places: Sequence[Place]) -> list[int | None]:
    """The size of each file, None where there is none."""
    local = [place for place in places if isinstance(place, Path)]
    if len(local) == len(places):
        return [_size(path) for path in local]
    from storage.lake.objects import object_sizes

    return object_sizes([place.key for place in places if isinstance(place, S3Place)])


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def let_read(connection: duckdb.DuckDBPyConnection, files: Iterable[str]) -> None:
    """Teach a DuckDB connection (and its cursors) the store, if any of the files is in one; no extension is needed."""
    if any(file.startswith(SCHEME) for file in files):
        from storage.lake.objects import DuckFiles

        connection.register_filesystem(DuckFiles())


def store_failure(error: duckdb.Error) -> str | None:
    """What the store said, where it is the store and not DuckDB that failed: a traceback comes in the bare class."""
    return str(error).strip().rsplit("\n", 1)[-1] if type(error) is duckdb.Error else None
