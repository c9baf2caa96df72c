"""Mixpanel's raw event export: a day of events as lines of JSON (`GET /api/2.0/export`)."""

import hashlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Final

import msgspec
from aiohttp import ClientSession, encode_basic_auth

from api.connectors.asking import asked
from api.connectors.connector import Item, Lines, ProviderFailed
from schemas.instants import format_millis
from schemas.windows import TimeRange

NAME: Final = "Mixpanel"
_CHUNK_BYTES: Final = 64 * 1024
# How the export says, with status 200, that it could not go on.
_BROKEN_OFF: Final = b"terminated early"
# What has a field of its own in the core form, or is an address that is not to be kept.
_TAKEN: Final = frozenset(
    {"time", "distinct_id", "$insert_id", "$user_id", "$device_id", "$distinct_id_before_identity", "ip", "$ip"}
)
# How an export marks the id of a person that nobody knows yet.
_DEVICE: Final = "$device:"
_NAMES: Final = {"$mp_web_page_view": "$pageview"}


class _Line(msgspec.Struct):
    event: str
    properties: dict[str, Any]


_LINE = msgspec.json.Decoder(_Line)


@dataclass(frozen=True, slots=True)
class Mixpanel:
    """One project of Mixpanel, read with a service account, or with the project's secret alone."""

    address: str
    username: str = field(repr=False)
    secret: str = field(repr=False)
    project_id: str | None = None

    window: ClassVar[timedelta] = timedelta(days=1)
    # Days of older projects are those of their own time zone, up to half a day behind UTC; then a day for latecomers.
    settles: ClassVar[timedelta] = timedelta(hours=36)

    async def items(self, session: ClientSession, window: TimeRange) -> AsyncGenerator[Item, None]:
        """The events of a day."""
        day = f"{window.start:%Y-%m-%d}"
        wanted = {"from_date": day, "to_date": day, "time_in_ms": "true"}
        if self.project_id is not None:
            wanted["project_id"] = self.project_id
        headers = {"Authorization": encode_basic_auth(self.username, self.secret)}
        url = f"{self.address}/api/2.0/export"
        async with asked(session, NAME, "GET", url, params=wanted, headers=headers) as answer:
            lines = Lines()
            async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                for line in lines.feed(chunk):
                    yield _item(line)
            for line in lines.end():
                # Each line has its line feed: this one may be half of itself, and then there are more.
                if not (item := _item(line)).event:
                    raise _broken_off()
                yield item


def _broken_off() -> ProviderFailed:
    return ProviderFailed(f"{NAME} broke off its answer; it is asked again")


def _item(line: bytes) -> Item:
    if line.strip() == _BROKEN_OFF:
        raise _broken_off()
    try:
        found = _LINE.decode(line)
        return Item(_event(found.event, found.properties), len(line))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, LookupError, ValueError, OverflowError):
        return Item({}, len(line))


def _event(name: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """The event in the core form; raises ValueError and its like for what is no export of an event."""
    distinct, user, device = (_id(said.get(key)) for key in ("distinct_id", "$user_id", "$device_id"))
    millis = msgspec.convert(said["time"], int)
    # The same event names its person anew when two become one, so that the id must not depend on that.
    first = said.get("$distinct_id_before_identity", distinct)
    same = msgspec.json.encode([name, millis, first, said.get("$insert_id")])
    if user is None and distinct is not None:
        if distinct.startswith(_DEVICE):
            device = device or distinct.removeprefix(_DEVICE)
        elif distinct != device:
            user = distinct
    return {
        "event": _NAMES.get(name, name),
        "eventId": f"mixpanel:{hashlib.sha256(same).hexdigest()[:32]}",
        "timestamp": format_millis(millis),
        "userId": user,
        "anonymousId": device,
        "properties": {key: value for key, value in said.items() if key not in _TAKEN},
    }


def _id(value: object) -> str | None:
    if value is not None and not isinstance(value, str | int):
        raise ValueError("an id that is neither a text nor a number")
    return None if value in (None, "") else str(value)
