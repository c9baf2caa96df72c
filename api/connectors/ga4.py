"""Google Analytics 4's Data API: a day's report, each row of it one event (`POST /v1beta/properties/{id}:runReport`).

The API has no single events. A row is what its dimensions name, counted, so it is an event of nobody named
`ga4_report`, with the dimensions and counts as properties.
"""

import hashlib
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, TypeVar
from zoneinfo import ZoneInfo

import jwt
import msgspec
from aiohttp import ClientResponse, ClientSession

from api.connectors.asking import asked
from api.connectors.connector import Item, ProviderFailed
from api.threads import in_thread
from schemas.instants import format_millis, to_millis
from schemas.windows import InvalidWindow, TimeRange, zone_named

T = TypeVar("T")

NAME: Final = "Google Analytics"
EVENT: Final = "ga4_report"
DIMENSIONS: Final = ("dateHour", "eventName", "pagePath", "country", "deviceCategory", "sessionDefaultChannelGroup")
METRICS: Final = ("eventCount", "totalUsers")
# Some megabytes an answer; more is refused as something else than a page of rows.
PAGE_ROWS: Final = 5000
_MOST_BYTES: Final = 64 * 1024**2
_SCOPE: Final = "https://www.googleapis.com/auth/analytics.readonly"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_REFUSED: Final = 400  # how the token's address says that it does not know the account or its key
_TOKEN_SECONDS: Final = 3600


class _Value(msgspec.Struct):
    value: str = ""


class _Row(msgspec.Struct, rename="camel"):
    dimension_values: list[_Value]
    metric_values: list[_Value]


class _Metadata(msgspec.Struct, rename="camel", frozen=True):
    time_zone: str = "UTC"


class _Report(msgspec.Struct, rename="camel"):
    rows: list[_Row] = []
    row_count: int = 0
    metadata: _Metadata = _Metadata()


class _Token(msgspec.Struct):
    access_token: str


@dataclass(frozen=True, slots=True)
class GoogleAnalytics:
    """One property, read as a service account that may view it."""

    address: str
    token_address: str
    property_id: str
    email: str
    private_key: str = field(repr=False)

    window: ClassVar[timedelta] = timedelta(days=1)
    # Days are those of the property's time zone, up to half a day behind UTC, and change for up to two days.
    settles: ClassVar[timedelta] = timedelta(hours=60)

    async def items(self, session: ClientSession, window: TimeRange) -> AsyncGenerator[Item, None]:
        """The rows of a day."""
        day = f"{window.start:%Y-%m-%d}"
        headers = {"Authorization": f"Bearer {await self._token(session)}"}
        url = f"{self.address}/v1beta/properties/{self.property_id}:runReport"
        offset, total = 0, 1
        while offset < total:
            async with asked(session, NAME, "POST", url, json=_question(day, offset), headers=headers) as answer:
                report = _decoded(await _body(answer), _Report)
            if offset < report.row_count and not report.rows:
                raise ProviderFailed(f"{NAME} counts more rows than it sends; it is asked again")
            zone = _zone(report.metadata.time_zone)
            for row in report.rows:
                event = self._event(row, window.start, zone)
                yield Item(event, len(msgspec.json.encode(event)))
            offset, total = offset + PAGE_ROWS, report.row_count

    async def _token(self, session: ClientSession) -> str:
        """A bearer token of an hour for the signature of the account."""
        assertion = await in_thread(self._assertion)
        form = {"grant_type": _GRANT, "assertion": assertion}
        async with asked(session, NAME, "POST", self.token_address, frozenset({_REFUSED}), data=form) as answer:
            if answer.status == _REFUSED:
                raise ProviderFailed(f"{NAME} does not know the service account or its key (400): change them")
            return _decoded(await _body(answer), _Token).access_token

    def _assertion(self) -> str:
        now = int(time.time())
        claims = {
            "iss": self.email,
            "scope": _SCOPE,
            "aud": self.token_address,
            "iat": now,
            "exp": now + _TOKEN_SECONDS,
        }
        try:
            return jwt.encode(claims, self.private_key, "RS256")
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise ProviderFailed("The service account's private_key is no RSA key in PEM form: change it") from error

    def _event(self, row: _Row, day: datetime, zone: ZoneInfo) -> dict[str, Any]:
        """A row as an event whose id is of what was counted, not of the count."""
        try:
            said = dict(zip(DIMENSIONS, (one.value for one in row.dimension_values), strict=True))
            counts = dict(zip(METRICS, (int(one.value) for one in row.metric_values), strict=True))
        except ValueError:
            return {}
        same = msgspec.json.encode([self.property_id, f"{day:%Y%m%d}", list(said.values())])
        return {
            "event": EVENT,
            "eventId": f"ga4:{hashlib.sha256(same).hexdigest()[:32]}",
            "timestamp": format_millis(to_millis(_hour(said["dateHour"], day, zone))),
            "properties": said | counts,
        }


def _question(day: str, offset: int) -> dict[str, Any]:
    return {
        "dateRanges": [{"startDate": day, "endDate": day}],
        "dimensions": _named(DIMENSIONS),
        "metrics": _named(METRICS),
        # Pages of one order: without it a row could be on two of them, and another on none.
        "orderBys": [{"dimension": {"dimensionName": name}} for name in DIMENSIONS],
        "limit": str(PAGE_ROWS),
        "offset": str(offset),
    }


def _named(names: Sequence[str]) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


async def _body(answer: ClientResponse) -> bytes:
    found = bytearray()
    async for chunk in answer.content.iter_chunked(64 * 1024):
        found += chunk
        if len(found) > _MOST_BYTES:
            raise ProviderFailed(f"{NAME} answered something else than a page of rows")
    return bytes(found)


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProviderFailed(f"{NAME} answered something else than its documents say; it is asked again") from error


def _zone(name: str) -> ZoneInfo:
    try:
        return zone_named(name)
    except InvalidWindow as error:
        raise ProviderFailed(f"{NAME} names a time zone that is not known here") from error


def _hour(text: str, day: datetime, zone: ZoneInfo) -> datetime:
    """The beginning of an hour of the property; of the day where rows of many hours are one."""
    try:
        return datetime.strptime(text, "%Y%m%d%H").replace(tzinfo=zone)
    except ValueError:
        return day.replace(tzinfo=zone)
