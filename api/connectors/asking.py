"""Requests to providers: no redirects, bounded waits, and what goes wrong in words without the credentials."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar

from api.connectors.connector import ProviderFailed

# A provider may gather for minutes before it sends the first byte; a line that is silent for longer is dead.
_TIMEOUT: Final = ClientTimeout(total=None, sock_connect=15, sock_read=300)


def open_session() -> ClientSession:
    """For the time of one sync. Proxies of the environment are not used, cookies not kept."""
    return ClientSession(
        timeout=_TIMEOUT, trust_env=False, cookie_jar=DummyCookieJar(), headers={"User-Agent": "Streamgauge-Sync"}
    )


@contextlib.asynccontextmanager
async def asked(
    session: ClientSession, name: str, method: str, url: str, passes: frozenset[int] = frozenset(), **more: Any
) -> AsyncIterator[ClientResponse]:
    """An answer with status 200, or one that `passes`. Raises ProviderFailed, for what breaks while it is read too."""
    with told(name):
        async with session.request(method, url, allow_redirects=False, **more) as answer:
            if answer.status != 200 and answer.status not in passes:
                raise refusal(name, answer)
            yield answer


@contextlib.contextmanager
def told(name: str) -> Iterator[None]:
    """Turn what the network does into ProviderFailed."""
    try:
        yield
    except TimeoutError as error:
        raise ProviderFailed(f"{name} did not answer in time; it is asked again") from error
    except ClientError as error:
        raise ProviderFailed(f"{name} could not be reached, or broke off its answer; it is asked again") from error


def refusal(name: str, answer: ClientResponse) -> ProviderFailed:
    """What a status means for whoever reads the source's `statusMessage`."""
    status, wait = answer.status, _seconds(answer.headers.get("Retry-After"))
    if status in (401, 403):
        return ProviderFailed(f"{name} refuses the credentials ({status}): change them, or what they may read")
    if status == 429:
        return ProviderFailed(
            f"{name} asks to wait ({status}); the sync goes on by itself", is_error=False, wait_seconds=wait
        )
    if status >= 500:
        return ProviderFailed(f"{name} has a fault of its own ({status}); it is asked again", wait_seconds=wait)
    return ProviderFailed(f"{name} did not take the request ({status}); it is asked again")


def _seconds(text: str | None) -> float | None:
    """How long a `Retry-After` asks to wait, which is seconds or an instant; None for anything else."""
    if text is None:
        return None
    if text.strip().isascii() and text.strip().isdecimal():
        return float(text.strip()[:9])
    try:
        at = parsedate_to_datetime(text)
        return max((at - datetime.now(at.tzinfo)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None
