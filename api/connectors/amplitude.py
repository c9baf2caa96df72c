"""Amplitude's Export API: an hour of uploads as a ZIP archive of gzipped lines of JSON (`GET /api/2/export`)."""

import contextlib
import gzip
import hashlib
import tempfile
import zipfile
import zlib
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any, ClassVar, Final

import msgspec
from aiohttp import ClientSession, encode_basic_auth

from api.connectors.asking import asked
from api.connectors.connector import Item, Lines, ProviderFailed
from api.threads import in_thread
from schemas.instants import format_millis, to_millis
from schemas.windows import TimeRange

NAME: Final = "Amplitude"
_CHUNK_BYTES: Final = 64 * 1024
_NOTHING: Final = 404  # the answer for an hour without events
_TOO_MUCH: Final = 400  # the answer for one of more than 4 GB, which is all that can be wrong with our requests
# Amplitude sends no archive of more.
_MOST_BYTES: Final = 4 * 1024**3
# What is worth keeping beside the event's own properties; addresses are not.
_FIELDS: Final = (
    "platform",
    "os_name",
    "os_version",
    "device_type",
    "device_family",
    "country",
    "region",
    "city",
    "language",
    "version_name",
    "user_properties",
    "groups",
)
_NAMES: Final = {"[Amplitude] Page Viewed": "Page Viewed"}
_PAGE: Final = {"url": "[Amplitude] Page URL", "title": "[Amplitude] Page Title", "referrer": "referrer"}


class _Line(msgspec.Struct):
    event_type: str
    event_time: str
    uuid: str | None = None
    insert_id: str | None = msgspec.field(default=None, name="$insert_id")
    user_id: str | None = None
    device_id: str | None = None
    session_id: int | None = None
    event_properties: dict[str, Any] | None = None


_WHOLE = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Amplitude:
    """One project of Amplitude. Archives lie in a nameless file of `scratch` while they are read, if there is room."""

    address: str
    api_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    scratch: Path
    has_room: Callable[[], bool]

    # Hours of upload, not of the events: what comes late is in a later one.
    window: ClassVar[timedelta] = timedelta(hours=1)
    settles: ClassVar[timedelta] = timedelta(hours=2)

    async def items(self, session: ClientSession, window: TimeRange) -> AsyncGenerator[Item, None]:
        """The events that were uploaded in an hour."""
        with tempfile.TemporaryFile(dir=self.scratch) as file:
            if not await self._fetch(session, window, file):
                return
            with contextlib.closing(_blocks(file)) as blocks:
                while (block := await in_thread(lambda: next(blocks, None))) is not None:
                    for line in block:
                        yield _item(line)

    async def _fetch(self, session: ClientSession, window: TimeRange, file: IO[bytes]) -> bool:
        """Whether there is an archive, which is then in the file: its list of contents is at its end."""
        hour = f"{window.start:%Y%m%dT%H}"
        headers, passes = (
            {"Authorization": encode_basic_auth(self.api_key, self.secret_key)},
            frozenset({_NOTHING, _TOO_MUCH}),
        )
        url = f"{self.address}/api/2/export"
        wanted = {"start": hour, "end": hour}
        async with asked(session, NAME, "GET", url, passes, params=wanted, headers=headers) as answer:
            if answer.status == _NOTHING:
                return False
            if answer.status == _TOO_MUCH:
                raise ProviderFailed(f"{NAME} exports no hour of more than 4 GB, and {hour} has more (400)")
            size = 0
            async for chunk in answer.content.iter_chunked(16 * _CHUNK_BYTES):
                size += len(chunk)
                if size > _MOST_BYTES:
                    raise ProviderFailed(f"{NAME} sent more than 4 GB for the hour {hour}")
                # Else the log would have none either, and would be waited for with the archive in its way.
                if not await in_thread(self.has_room):
                    raise ProviderFailed(
                        f"The disk of this service has no room for {NAME}'s archive; it is asked again"
                    )
                await in_thread(partial(file.write, chunk))
        return True


def _blocks(file: IO[bytes]) -> Generator[list[bytes], None, None]:
    """The lines of all files of an archive, some at a time. Blocks. Raises ProviderFailed for a broken one."""
    try:
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                lines = Lines()
                with archive.open(name) as packed, gzip.GzipFile(fileobj=packed) as text:
                    while chunk := text.read1(_CHUNK_BYTES):
                        yield lines.feed(chunk)
                yield lines.end()
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ProviderFailed(f"{NAME} sent an archive that cannot be read to its end; it is asked again") from error


def _item(line: bytes) -> Item:
    try:
        whole = _WHOLE.decode(line)
        return Item(_event(msgspec.convert(whole, _Line), whole, line), len(line))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OverflowError):
        return Item({}, len(line))


def _event(said: _Line, whole: Mapping[str, Any], line: bytes) -> dict[str, Any]:
    own = said.event_properties or {}
    session = said.session_id if said.session_id is not None and said.session_id >= 0 else None
    return {
        "event": _NAMES.get(said.event_type, said.event_type),
        "eventId": f"amplitude:{said.uuid or said.insert_id or hashlib.sha256(line).hexdigest()[:32]}",
        "timestamp": format_millis(to_millis(datetime.fromisoformat(said.event_time))),
        "userId": said.user_id,
        "anonymousId": said.device_id,
        # A number of theirs is a session of one device.
        "sessionId": None if session is None else f"{said.device_id or said.user_id or ''}.{session}",
        "properties": {name: whole[name] for name in _FIELDS if whole.get(name) not in (None, {})} | own,
        "context": {name: own[key] for name, key in _PAGE.items() if isinstance(own.get(key), str)},
    }
