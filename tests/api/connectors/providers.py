"""The three providers on loopback, as their documents describe them: what they demand, send, and how they fail."""

import asyncio
import base64
import contextlib
import gzip
import json
import re
import tempfile
import threading
import zipfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from api.connectors.catalogue import Addresses

USERNAME, SECRET, PROJECT = "robot.1a2b", "mixpanel-hush", "2195193"
API_KEY, SECRET_KEY = "a1b2c3", "amplitude-hush"
PROPERTY, EMAIL = "987654321", "robot@example.iam.gserviceaccount.com"

_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE_KEY = _KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()

MIXPANEL = {"username": USERNAME, "secret": SECRET, "projectId": PROJECT}
AMPLITUDE = {"apiKey": API_KEY, "secretKey": SECRET_KEY}
GA4 = {
    "propertyId": PROPERTY,
    "serviceAccount": {
        "type": "service_account",
        "client_email": EMAIL,
        "private_key": PRIVATE_KEY,
        "token_uri": "http://127.0.0.1:1/stolen",
    },
}

# What goes wrong with the next answer: a status with headers, or the share of its body after which the line is cut.
Fault = tuple[int, Mapping[str, str]] | float


@dataclass
class Providers:
    """What each of them has. Every request that named itself rightly is in `asked`."""

    days: dict[str, Iterable[bytes]] = field(default_factory=dict)
    hours: dict[str, list[Iterable[bytes]]] = field(default_factory=dict)
    reports: dict[str, list[tuple[list[str], list[str]]]] = field(default_factory=dict)
    time_zone: str = "America/Los_Angeles"
    # Rows that a report counts and does not have.
    missing_rows: int = 0
    faults: list[Fault] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    port: int = 0
    # Where set, answers do not end before it is.
    release: asyncio.Event | None = None
    # The export ends in the middle of a line, with every sign that all is well.
    is_unterminated: bool = False
    # A byte of the second file of an archive is another.
    is_spoilt: bool = False
    _token: str = "ya29.token"

    @property
    def addresses(self) -> Addresses:
        here = f"http://127.0.0.1:{self.port}"
        return Addresses(
            {"us": f"{here}/mixpanel", "eu": f"{here}/mixpanel-eu"},
            {"us": f"{here}/amplitude"},
            f"{here}/ga4",
            f"{here}/token",
        )

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """On the running loop."""
        app = web.Application()
        app.router.add_get("/mixpanel/api/2.0/export", self._mixpanel)
        app.router.add_get("/amplitude/api/2/export", self._amplitude)
        app.router.add_post("/token", self._grant)
        app.router.add_post("/ga4/v1beta/properties/{name}", self._report)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield
        finally:
            await runner.cleanup()

    @contextlib.contextmanager
    def in_thread(self) -> Iterator[None]:
        """On a loop of its own."""
        started, stop = threading.Event(), asyncio.Event()
        loops: list[asyncio.AbstractEventLoop] = []

        async def serve() -> None:
            async with self.serving():
                loops.append(asyncio.get_running_loop())
                started.set()
                await stop.wait()

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        assert started.wait(10)
        try:
            yield
        finally:
            loops[0].call_soon_threadsafe(stop.set)
            thread.join()

    async def _mixpanel(self, request: web.Request) -> web.StreamResponse:
        if (auth := _basic(request)) not in ((USERNAME, SECRET), (SECRET, "")):
            return web.json_response({"error": "Invalid credentials"}, status=401)
        wanted = request.query
        if auth[1] and wanted.get("project_id") != PROJECT:
            return web.json_response({"error": "project_id is required with a service account"}, status=400)
        days = [wanted["from_date"], wanted["to_date"]]
        assert days[0] == days[1], "a day at a time"
        assert wanted["time_in_ms"] == "true"
        self.asked.append(days[0])
        lines = (line + b"\n" for line in self.days.get(days[0], []))
        if self.is_unterminated:
            *whole, last = lines
            lines = (line for line in [*whole, last.rstrip()])
        return await self._sent(request, lines, "text/plain")

    async def _amplitude(self, request: web.Request) -> web.StreamResponse:
        if _basic(request) != (API_KEY, SECRET_KEY):
            return web.Response(status=401, text="Invalid API key")
        start, end = request.query["start"], request.query["end"]
        assert re.fullmatch(r"\d{8}T\d{2}", start)
        assert start == end
        self.asked.append(start)
        if (files := self.hours.get(start)) is None and not self.faults:
            return web.Response(status=404, text="Raw data files were not found.")
        with tempfile.TemporaryFile() as file:
            _pack(file, start, files or [])
            if self.is_spoilt:
                at = file.tell() * 3 // 4
                file.seek(at)
                [byte] = file.read(1)
                file.seek(at)
                file.write(bytes([byte ^ 0xFF]))
            file.seek(0)
            return await self._sent(request, iter(partial(file.read, 65536), b""), "application/zip")

    async def _grant(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        try:
            claims = jwt.decode(
                str(form["assertion"]), _KEY.public_key(), ["RS256"], audience=self.addresses.ga4_token, issuer=EMAIL
            )
        except jwt.PyJWTError:
            return web.json_response({"error": "invalid_grant"}, status=400)
        assert claims["scope"] == "https://www.googleapis.com/auth/analytics.readonly"
        assert claims["exp"] - claims["iat"] <= 3600
        return web.json_response({"access_token": self._token, "expires_in": 3599, "token_type": "Bearer"})

    async def _report(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self._token}":
            return web.json_response({"error": {"code": 401, "status": "UNAUTHENTICATED"}}, status=401)
        if request.match_info["name"] != f"{PROPERTY}:runReport":
            return web.json_response({"error": {"code": 403, "status": "PERMISSION_DENIED"}}, status=403)
        asked = await request.json()
        [days], dimensions = asked["dateRanges"], [one["name"] for one in asked["dimensions"]]
        assert days["startDate"] == days["endDate"]
        assert [one["dimension"]["dimensionName"] for one in asked["orderBys"]] == dimensions
        metrics = [one["name"] for one in asked["metrics"]]
        offset, limit = int(asked["offset"]), int(asked["limit"])
        self.asked.append(f"{days['startDate']}+{offset}")
        rows = self.reports.get(days["startDate"], [])
        body = {
            "dimensionHeaders": [{"name": name} for name in dimensions],
            "metricHeaders": [{"name": name, "type": "TYPE_INTEGER"} for name in metrics],
            "rows": [
                {
                    "dimensionValues": [{"value": one} for one in said],
                    "metricValues": [{"value": one} for one in counts],
                }
                for said, counts in sorted(rows)[offset : offset + limit]
            ],
            "rowCount": len(rows) + self.missing_rows,
            "metadata": {"currencyCode": "EUR", "timeZone": self.time_zone},
            "kind": "analyticsData#runReport",
        }
        if not rows:  # as the API leaves out what is empty
            del body["rows"], body["rowCount"]
        text = json.dumps(body).encode()
        return await self._sent(
            request, [text[at : at + 65536] for at in range(0, len(text), 65536)], "application/json"
        )

    async def _sent(self, request: web.Request, parts: Iterable[bytes], kind: str) -> web.StreamResponse:
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, tuple):
            return web.Response(status=fault[0], headers=fault[1], text="the provider's own words")
        if isinstance(fault, float):
            parts = list(parts)
            parts = parts[: int(len(parts) * fault)]
        answer = web.StreamResponse(headers={"Content-Type": kind})
        if kind == "text/plain":
            answer.enable_compression()  # where the client takes it
        else:
            answer.enable_chunked_encoding()
        await answer.prepare(request)
        for part in parts:
            await answer.write(part)
        if self.release is not None:
            await self.release.wait()
        if fault is not None and request.transport is not None:
            await asyncio.sleep(0)
            request.transport.close()
            return answer
        await answer.write_eof()
        return answer


def _pack(file: IO[bytes], hour: str, files: Iterable[Iterable[bytes]]) -> None:
    """What the Export API sends for an hour: gzipped lines in a ZIP."""
    with zipfile.ZipFile(file, "w") as archive:
        for number, lines in enumerate(files):
            name = f"1337/1337_{hour}#{number}.json.gz"
            with archive.open(name, "w") as packed, gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as text:
                for line in lines:
                    text.write(line + b"\n")


def _basic(request: web.Request) -> tuple[str, str]:
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    login, _, password = base64.b64decode(encoded).decode().partition(":")
    return (login, password) if scheme == "Basic" else ("", "")


def mixpanel_line(number: int, millis: int, **properties: Any) -> bytes:
    """An event as the raw export has it."""
    said = {"time": millis, "distinct_id": f"user-{number}", "$insert_id": f"i{number}", "plan": "pro", **properties}
    return json.dumps({"event": "Signed up", "properties": said}).encode()


def amplitude_line(number: int, at: str, **fields: Any) -> bytes:
    """An event as the Export API has it."""
    said = {
        "server_upload_time": at,
        "event_time": at,
        "event_type": "watch_tutorial",
        "uuid": f"00000000-0000-0000-0000-{number:012d}",
        "$insert_id": f"i{number}",
        "user_id": f"user-{number}",
        "device_id": f"device-{number}",
        "session_id": 1396381378123,
        "event_properties": {"length": number},
        "user_properties": {"plan": "pro"},
        "groups": {},
        "platform": "Web",
        "country": "France",
        "ip_address": "203.0.113.9",
        "amplitude_id": 12345,
        "data": {},
    }
    return json.dumps(said | fields).encode()
