"""ZIP files are written piece by piece, and a part is never taken for the whole."""

import asyncio
import io
import os
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from api.analytics.archive import zipped

NOW = datetime(2026, 2, 22, 10, 30, 0, tzinfo=UTC)
CHUNK = 64 * 1024


class Reading:
    """Chunks that do not compress."""

    def __init__(self, chunks: int, *, fails: bool = False) -> None:
        self.given = b""
        self._chunks = chunks
        self._fails = fails

    async def chunks(self) -> AsyncIterator[bytes]:
        for _ in range(self._chunks):
            chunk = os.urandom(CHUNK)
            self.given += chunk
            yield chunk
        if self._fails:
            raise RuntimeError("the lake is gone")


def collected(reading: Reading, into: bytearray) -> int:
    """The archive, and the most that was read and not yet written."""

    async def story() -> int:
        ahead = 0
        async for piece in zipped([("a.bin", reading.chunks()), ("empty", Reading(0).chunks())], NOW):
            into.extend(piece)
            ahead = max(ahead, len(reading.given) - len(into))
        return ahead

    return asyncio.run(story())


def test_files_come_back_and_little_waits() -> None:
    reading, whole = Reading(50), bytearray()
    assert collected(reading, whole) < 2 * CHUNK
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.bin", "empty"]
        assert archive.read("a.bin") == reading.given
        assert archive.read("empty") == b""
        assert archive.getinfo("a.bin").date_time == (2026, 2, 22, 10, 30, 0)


def test_what_breaks_off_is_no_archive() -> None:
    whole = bytearray()
    with pytest.raises(RuntimeError, match="the lake is gone"):
        collected(Reading(3, fails=True), whole)
    assert len(whole) > CHUNK
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(whole))
