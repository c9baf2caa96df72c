"""Downloads: all rows of a selection in a file format."""

import base64
import binascii
from dataclasses import dataclass
from typing import Literal, Self, get_args

import msgspec

from schemas.instants import from_millis
from schemas.questions import InvalidQuestion
from schemas.selection import Selection

ExportKind = Literal["events", "sessions"]
ExportFormat = Literal["csv", "json", "ndjson", "parquet", "arrow"]
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
MEDIA_TYPES: dict[ExportFormat, str] = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}


@dataclass(frozen=True, slots=True)
class ExportQuestion:
    """Rows of a selection in the order of the files of one version: always the same, and not that of time."""

    selection: Selection
    kind: ExportKind = "events"
    skip: int = 0


class ExportCursor(msgspec.Struct, frozen=True, array_like=True):
    """What makes a download the same again: its version and range."""

    version: int
    start: int  # unix ms
    end: int

    def encode(self) -> str:
        """Opaque text for the caller."""
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Self:
        """Raises InvalidQuestion for anything `encode` did not give."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            cursor = msgspec.msgpack.decode(raw, type=cls)
            for millis in (cursor.start, cursor.end):
                from_millis(millis)
            if cursor.version < 0:
                raise ValueError("no version is negative")
        except (binascii.Error, ValueError, OverflowError, msgspec.MsgspecError) as error:
            raise InvalidQuestion("Invalid parameter: cursor") from error
        return cursor


def parse_format(text: str | None, accept: str) -> ExportFormat:
    """A format by its name, else by the media types that are accepted, else NDJSON. Raises InvalidQuestion."""
    if text is None:
        wanted = [part.partition(";")[0].strip() for part in accept.split(",")]
        return next((form for form in FORMATS if MEDIA_TYPES[form].partition(";")[0] in wanted), "ndjson")
    for form in FORMATS:
        if form == text:
            return form
    raise InvalidQuestion("Invalid parameter: format")
