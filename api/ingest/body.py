"""A request's body: received bytes counted, codings undone up to a cap."""

import asyncio
import zlib
from collections.abc import Mapping
from io import BytesIO
from typing import Any, cast

import zstandard
from msgspec import Struct
from starlette.types import Receive

from api.errors import malformed, too_large, too_slow, unsupported

# Larger bodies are decompressed in a thread, so that they delay nobody else.
_INLINE_BYTES = 16 * 1024
# zlib copies the rest of the input at the end of each gzip member, so their number is bounded.
_MOST_MEMBERS = 100
# What RFC 8878 lets a server insist on.
_ZSTD_WINDOW_BYTES = 8 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_TOO_SLOW = "the body is too slow"
_ALIASES = {"x-gzip": "gzip", "identity": ""}
_CODINGS = frozenset({"", "gzip", "deflate", "zstd"})


class Disconnected(Exception):
    """The client left before its request was complete."""


class Body(Struct, frozen=True, gc=False):
    """The bytes a client meant, and how many were received for them."""

    content: bytes
    received: int


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], most: int, seconds: float) -> Body:
    """The body, decompressed; at most `most` bytes before and after. Raises Problem, Disconnected."""
    coding, length = _announced(headers)
    if length > most:
        raise _over(most)
    received = await _in_time(receive, most, seconds)
    # Some clients compress without saying so; no JSON begins like gzip.
    if coding is None:
        coding = "gzip" if received.startswith(b"\x1f\x8b") else ""
    if not coding:
        return Body(received, len(received))
    if len(received) > _INLINE_BYTES:
        content = await asyncio.to_thread(decompress, coding, received, most)
    else:
        content = decompress(coding, received, most)
    return Body(content, len(received))


def decompress(coding: str, body: bytes, most: int) -> bytes:
    """Undo one coding; raises Problem 400 for damaged input and 413 beyond `most` bytes."""
    try:
        match coding:
            case "gzip":
                return _inflate(body, most, zlib.MAX_WBITS | 16)
            case "deflate":
                # The standard means zlib's format, but many senders leave its two bytes out.
                is_zlib = len(body) > 1 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
                return _inflate(body, most, zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)
            case _:
                return _unzstd(body, most)
    except (zlib.error, zstandard.ZstdError) as error:
        raise malformed(f"Damaged {coding} body") from error


def _announced(headers: Mapping[bytes, bytes]) -> tuple[str | None, int]:
    """The content coding (None where none is named) and the length, 0 where it is unknown."""
    length = headers.get(b"content-length", b"")
    size = int(length) if length.isdigit() and len(length) < 19 else 0
    named = headers.get(b"content-encoding")
    if named is None:
        return None, size
    # Two codings, one in the other, would get past a cap that looks at one: "gzip, gzip" is unknown.
    coding = named.decode("latin-1").strip().lower()
    coding = _ALIASES.get(coding, coding)
    if coding not in _CODINGS:
        raise unsupported(coding[:64])
    return coding, size


async def _in_time(receive: Receive, most: int, seconds: float) -> bytes:
    # What asyncio.timeout does, without its objects: they cost a tenth of the whole request.
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    timer = asyncio.get_running_loop().call_later(seconds, task.cancel, _TOO_SLOW)
    try:
        return await _receive(receive, most)
    except asyncio.CancelledError as error:
        if error.args != (_TOO_SLOW,):
            raise
        task.uncancel()
        raise too_slow() from error
    finally:
        timer.cancel()


async def _receive(receive: Receive, most: int) -> bytes:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    first: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(first) > most:
            raise _over(most)
        return first
    chunks, size = [first], len(first)
    while message.get("more_body", False):
        if size > most:
            raise _over(most)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk: bytes = message.get("body", b"")
        chunks.append(chunk)
        size += len(chunk)
    if size > most:
        raise _over(most)
    return b"".join(chunks)


def _inflate(body: bytes, most: int, window: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    for _ in range(_MOST_MEMBERS):
        stream = zlib.decompressobj(window)
        part = stream.decompress(body, most + 1 - size)
        size += len(part)
        if size > most:
            raise _over(most)
        if not stream.eof:
            raise zlib.error("incomplete")
        parts.append(part)
        body = stream.unused_data
        if not body:
            return parts[0] if len(parts) == 1 else b"".join(parts)
        if window <= zlib.MAX_WBITS:
            break
    raise zlib.error("garbage after the end")


def _unzstd(body: bytes, most: int) -> bytes:
    reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).stream_reader(
        BytesIO(body), read_size=_CHUNK_BYTES
    )
    parts: list[bytes] = []
    size = 0
    while part := reader.read(_CHUNK_BYTES):
        parts.append(part)
        size += len(part)
        if size > most:
            raise _over(most)
    content = b"".join(parts)
    # The reader does not tell the end of a frame from the end of the input, nor what follows a frame; now that the
    # size is known to be bounded, the frame is opened once more in a way that does.
    stream = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()
    stream.decompress(body)
    if not stream.eof or stream.unused_data:
        raise zstandard.ZstdError("incomplete, or garbage after the end")
    return content


def _over(most: int) -> Exception:
    return too_large(f"Body too large: at most {most} bytes, before and after decompression")
