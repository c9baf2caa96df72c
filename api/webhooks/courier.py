"""Takes one message to an https address that a tenant named, and never into our own network."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import quote, urlsplit

from schemas.addresses import is_public_address
from schemas.keeping import InvalidKept, check_address

# From the look-up of the name to the first line of the answer.
SECONDS: Final = 5.0
# Slow receivers hold up each other at worst, and nobody else.
_AT_ONCE: Final = 32
_LONGEST_LINE: Final = 8 * 1024

Resolve: TypeAlias = Callable[[str, int], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The status of the answer, or why there was none, in words that tell nothing of our network."""

    status: int | None = None
    error: str | None = None
    # Nothing came back, and something may the next time.
    may_pass: bool = field(default=False, compare=False)

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_transient(self) -> bool:
        """A fault of the receiver's, or no answer; what it refuses it would refuse again."""
        return self.may_pass or (self.status is not None and self.status >= 500)


class Courier:
    """For one event loop. Follows no redirect, and shows nobody what was answered but its status."""

    def __init__(
        self,
        *,
        allows_private: bool = False,
        context: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
        seconds: float = SECONDS,
    ) -> None:
        self._allows_private = allows_private
        self._context = context or ssl.create_default_context()
        self._resolve = resolve or _resolve
        self._seconds = seconds
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send a body once."""
        try:
            check_address(url, allows_private=self._allows_private)
        except InvalidKept:
            return Outcome(error="the address is not a public https address")
        try:
            async with self._room, asyncio.timeout(self._seconds):
                return await self._sent(url, body, headers)
        except TimeoutError:
            return Outcome(error=f"no answer within {self._seconds:g} s", may_pass=True)
        except ssl.SSLCertVerificationError:
            return Outcome(error="its certificate is not valid")
        except ssl.SSLError:
            return Outcome(error="it does not speak TLS")
        except socket.gaierror:
            return Outcome(error="its name has no address", may_pass=True)
        except (OSError, ValueError):
            return Outcome(error="it could not be reached, or answered something else than HTTP", may_pass=True)

    async def _sent(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port or 443
        addresses = await self._resolve(host, port)
        # Every one: a name may have a public address and one of ours.
        if not addresses or not (self._allows_private or all(map(is_public_address, addresses))):
            return Outcome(error="its name leads into a private network")
        # To the very address that was looked at: a second look-up might give another.
        reader, writer = await asyncio.open_connection(
            addresses[0], port, ssl=self._context, server_hostname=host, limit=_LONGEST_LINE
        )
        try:
            target = _quoted(parts.path or "/") + (f"?{_quoted(parts.query)}" if parts.query else "")
            named = f"[{host}]" if ":" in host else host
            lines = [
                f"POST {target} HTTP/1.1",
                f"Host: {named}" + (f":{port}" if port != 443 else ""),
                "Content-Type: application/json",
                f"Content-Length: {len(body)}",
                "User-Agent: Streamgauge-Webhooks",
                "Connection: close",
                *(f"{name}: {value}" for name, value in headers.items()),
            ]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            await writer.drain()
            return Outcome(status=_status(await reader.readline()))
        finally:
            writer.transport.abort()  # nobody waits for what else it says


def _quoted(text: str) -> str:
    return quote(text, safe="/%:@!$&'()*+,;=~-._?")


def _status(line: bytes) -> int:
    """The status of `HTTP/1.1 204 No Content`; raises ValueError for anything else."""
    version, code, *_ = line.split(b" ", 2)
    if not version.startswith(b"HTTP/1.") or len(code.strip()) != 3:
        raise ValueError("no HTTP")
    return int(code)


async def _resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]
