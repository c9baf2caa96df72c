"""ZIP files as they are made: never whole, neither in memory nor on a disk."""

import asyncio
import io
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo


class _Sink(io.RawIOBase):
    """What was written and not yet taken. It cannot seek, so sizes follow their files."""

    def __init__(self) -> None:
        super().__init__()
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._held)
        self._held.clear()
        return taken


async def zipped(files: Iterable[tuple[str, AsyncIterator[bytes]]], now: datetime) -> AsyncIterator[bytes]:
    """The archive of named files in pieces of theirs; what breaks a file off breaks the archive off before its end."""
    sink = _Sink()
    with ZipFile(sink, "w") as archive:
        for name, chunks in files:
            entry = ZipInfo(name, now.timetuple()[:6])
            entry.compress_type = ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as member:  # how large it will be is not known
                async for chunk in chunks:
                    await asyncio.to_thread(member.write, chunk)
                    if piece := sink.take():
                        yield piece
    yield sink.take()
