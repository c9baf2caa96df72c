"""Downloads: their pace is the reader's, and what breaks them off is told."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import BinaryIO

import pytest

from api.analytics.downloads import MOST_DOWNLOADS, Downloads
from schemas.exports import ExportFormat
from storage.errors import Unavailable
from tests.api.serving import wait_until

CHUNK = b"x" * 65536


class Source:
    """So many chunks, then the end or an error; knows how far it was read and whether it was closed."""

    def __init__(self, chunks: int, error: Exception | None = None) -> None:
        self.written = 0
        self.closed = threading.Event()
        self._chunks = chunks
        self._error = error

    @contextmanager
    def open(self) -> Iterator["Source"]:
        try:
            yield self
        finally:
            self.closed.set()

    def write(self, form: ExportFormat, sink: BinaryIO, /) -> None:
        for _ in range(self._chunks):
            sink.write(CHUNK)
            self.written += 1
        if self._error is not None:
            raise self._error


async def _read(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


def test_reader_sets_the_pace() -> None:
    source = Source(100)

    async def main() -> None:
        downloads = Downloads()
        chunks = await downloads.start(source.open, "csv")
        first = await anext(chunks)
        await asyncio.to_thread(wait_until, lambda: source.written >= 4)
        await asyncio.sleep(0.3)  # it could have written all of it by now
        assert source.written < 10
        assert len(first) + len(await _read(chunks)) == 100 * len(CHUNK)
        await asyncio.to_thread(downloads.close)

    asyncio.run(main())
    assert source.closed.is_set()


def test_part_is_never_taken_for_the_whole() -> None:
    async def main() -> None:
        downloads = Downloads()
        chunks = await downloads.start(Source(3, Unavailable("the disk is away")).open, "csv")
        with pytest.raises(Unavailable, match="the disk is away"):
            await _read(chunks)
        await asyncio.to_thread(downloads.close)

    asyncio.run(main())


def test_what_cannot_be_opened_is_told_before_the_first_chunk() -> None:
    def broken() -> AbstractContextManager[Source]:
        raise Unavailable("no lake")

    async def main() -> None:
        downloads = Downloads()
        with pytest.raises(Unavailable, match="no lake"):
            await downloads.start(broken, "csv")
        await asyncio.to_thread(downloads.close)

    asyncio.run(main())


def test_reader_who_leaves_frees_the_place() -> None:
    sources = [Source(1000) for _ in range(MOST_DOWNLOADS + 1)]

    async def main() -> None:
        downloads = Downloads()
        running = [await downloads.start(source.open, "csv") for source in sources[:-1]]
        for chunks in running:
            await anext(chunks)
        with pytest.raises(Unavailable, match="too many downloads"):
            await downloads.start(sources[-1].open, "csv")
        await running[0].aclose()  # type: ignore[attr-defined]  # a generator, as a server closes it
        await asyncio.to_thread(sources[0].closed.wait, 10)
        await asyncio.sleep(0.05)
        chunks = await downloads.start(sources[-1].open, "csv")
        await asyncio.to_thread(downloads.close)
        assert all(source.closed.is_set() for source in sources)
        assert max(source.written for source in sources) < 1000
        await chunks.aclose()  # type: ignore[attr-defined]
        for chunks in running:
            await chunks.aclose()  # type: ignore[attr-defined]

    asyncio.run(main())
