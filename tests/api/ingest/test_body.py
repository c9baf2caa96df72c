"""Bodies: limits on what is received and on what becomes of it."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Mapping

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive

from api.errors import Problem
from api.ingest.body import Disconnected, decompress, read_body

MOST = 1000


def receiving(*chunks: bytes) -> Receive:
    messages: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": place < len(chunks) - 1}
        for place, chunk in enumerate(chunks)
    ]

    async def receive() -> Message:
        return messages.pop(0)

    return receive


def read(*chunks: bytes, headers: Mapping[bytes, bytes] | None = None, most: int = MOST) -> bytes:
    return asyncio.run(read_body(receiving(*chunks), headers or {}, most, 5)).content


def status_of(*chunks: bytes, headers: Mapping[bytes, bytes] | None = None, most: int = MOST) -> int:
    with pytest.raises(Problem) as caught:
        read(*chunks, headers=headers, most=most)
    return caught.value.status


def encoded(coding: str, content: bytes) -> bytes:
    match coding:
        case "gzip" | "x-gzip":
            return gzip.compress(content)
        case "deflate":
            return zlib.compress(content)
        case "zstd":
            return zstandard.compress(content)
        case _:
            return content


@given(st.binary(max_size=MOST), st.sampled_from(["gzip", "x-gzip", "deflate", "zstd", "identity", "GZIP"]))
def test_a_coding_is_undone(content: bytes, coding: str) -> None:
    assert read(encoded(coding.lower(), content), headers={b"content-encoding": coding.encode()}) == content


def test_raw_deflate_is_undone() -> None:
    stream = zlib.compressobj(wbits=-15)
    body = stream.compress(b"hello") + stream.flush()
    assert read(body, headers={b"content-encoding": b"deflate"}) == b"hello"


def test_gzip_is_recognised_where_no_coding_is_named() -> None:
    assert read(gzip.compress(b"hello")) == b"hello"


def test_gzip_is_not_looked_for_where_a_coding_is_named() -> None:
    body = gzip.compress(b"hello")
    assert read(body, headers={b"content-encoding": b"identity"}) == body


def test_gzip_members_are_joined() -> None:
    assert read(gzip.compress(b"one") + gzip.compress(b"two")) == b"onetwo"


def test_too_many_gzip_members_are_refused() -> None:
    assert status_of(gzip.compress(b"") * 101, most=10_000) == 400


def test_zstd_of_unknown_size_is_undone() -> None:
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    body = stream.compress(b"hello") + stream.flush()
    assert read(body, headers={b"content-encoding": b"zstd"}) == b"hello"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
class TestDamage:
    def test_garbage_after_the_end_is_refused(self, coding: str) -> None:
        body = encoded(coding, b"hello") + b"garbage"
        assert status_of(body, headers={b"content-encoding": coding.encode()}) == 400

    def test_a_cut_body_is_refused(self, coding: str) -> None:
        body = encoded(coding, b"hello" * 20)[:-5]
        assert status_of(body, headers={b"content-encoding": coding.encode()}) == 400

    def test_garbage_is_refused(self, coding: str) -> None:
        assert status_of(b"\x07garbage", headers={b"content-encoding": coding.encode()}) == 400

    def test_an_empty_body_is_refused(self, coding: str) -> None:
        assert status_of(b"", headers={b"content-encoding": coding.encode()}) == 400

    def test_one_byte_too_many_is_refused(self, coding: str) -> None:
        headers = {b"content-encoding": coding.encode()}
        assert read(encoded(coding, b"x" * MOST), headers=headers) == b"x" * MOST
        assert status_of(encoded(coding, b"x" * (MOST + 1)), headers=headers) == 413

    def test_a_bomb_is_refused_without_room_for_it(self, coding: str) -> None:
        bomb = encoded(coding, bytes(200_000_000))
        tracemalloc.start()
        try:
            with pytest.raises(Problem) as caught:
                decompress(coding, bomb, 1_000_000)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert caught.value.status == 413
        assert peak < 8_000_000


@pytest.mark.parametrize("coding", [b"br", b"compress", b"gzip, gzip", b"gzip, identity", b"nonsense", b"\xff", b""])
def test_other_codings_are_refused(coding: bytes) -> None:
    if coding == b"":
        assert read(b"hello", headers={b"content-encoding": coding}) == b"hello"
    else:
        assert status_of(b"hello", headers={b"content-encoding": coding}) == 415


def test_a_body_in_a_body_is_not_opened() -> None:
    inner = gzip.compress(b"hello")
    assert read(gzip.compress(inner), headers={b"content-encoding": b"gzip"}) == inner


def test_chunks_are_joined_and_counted() -> None:
    assert read(b"x" * 600, b"y" * 400) == b"x" * 600 + b"y" * 400
    assert status_of(b"x" * 600, b"y" * 401) == 413


def test_an_endless_body_is_refused_before_its_end() -> None:
    received = 0

    async def receive() -> Message:
        nonlocal received
        received += 100
        return {"type": "http.request", "body": b"x" * 100, "more_body": True}

    with pytest.raises(Problem) as caught:
        asyncio.run(read_body(receive, {}, MOST, 5))
    assert caught.value.status == 413
    assert received <= MOST + 200


def test_an_announced_length_is_refused_before_the_body() -> None:
    async def receive() -> Message:
        raise AssertionError("the body was asked for")

    with pytest.raises(Problem) as caught:
        asyncio.run(read_body(receive, {b"content-length": b"1001"}, MOST, 5))
    assert caught.value.status == 413


def test_a_slow_body_is_given_up() -> None:
    async def receive() -> Message:
        await asyncio.sleep(60)
        raise AssertionError("waited for the body")

    async def read_slowly() -> int:
        with pytest.raises(Problem) as caught:
            await read_body(receive, {}, MOST, 0.01)
        await asyncio.sleep(0)  # the time-out's cancellation must not reach what comes after
        return caught.value.status

    assert asyncio.run(read_slowly()) == 408


def test_cancellation_is_no_time_out() -> None:
    async def receive() -> Message:
        await asyncio.sleep(60)
        raise AssertionError("waited for the body")

    async def cancel() -> None:
        task = asyncio.create_task(read_body(receive, {}, MOST, 60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())


def test_a_client_that_leaves_is_noticed() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(Disconnected):
        asyncio.run(read_body(receive, {}, MOST, 5))
