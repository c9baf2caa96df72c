"""The files of a table at a version, for whoever reads the lake beside us."""

from dataclasses import dataclass

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from msgspec import Struct

from schemas.questions import InvalidQuestion
from storage.errors import Gone
from storage.lake.tables import TABLES, TableName, table_uri
from storage.query.lake import Lake


class LakeFile(Struct, frozen=True):
    """One live file, its path below the table's."""

    path: str
    rows: int | None
    bytes: int


@dataclass(frozen=True, slots=True)
class FilesAnswer:
    """All files of a version."""

    files: tuple[LakeFile, ...]
    version: int


def list_files(lake: Lake, table: str | None, version: int | None) -> FilesAnswer:
    """Of the newest version by default. Raises InvalidQuestion or Gone."""
    name = _table(table or "events")
    newest = lake.version(name)
    if version is not None and not 0 <= version <= newest:
        raise InvalidQuestion(f"Invalid parameter: version, the newest is {newest}")
    try:
        handle = DeltaTable(table_uri(lake.place, name), version=newest if version is None else version)
    except (DeltaError, OSError) as error:
        raise Gone(f"version {version} of {name} is not kept any more") from error
    added = pa.table(handle.get_add_actions())
    columns = (added[column].to_pylist() for column in ("path", "num_records", "size_bytes"))
    return FilesAnswer(tuple(LakeFile(*row) for row in zip(*columns, strict=True)), handle.version())


def _table(text: str) -> TableName:
    for name in TABLES:
        if name == text:
            return name
    raise InvalidQuestion("Invalid parameter: table")
