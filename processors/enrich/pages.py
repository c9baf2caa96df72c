"""A page address taken apart: host, path and campaign."""

import re
from functools import lru_cache
from urllib.parse import urlsplit

from msgspec import Struct

from processors.enrich.campaigns import campaign
from schemas.rows import UNTAGGED, Campaign

# What longer texts say is understood too, but not kept in the caches, which must stay bounded in bytes.
CACHED_CHARACTERS = 1024


class Page(Struct, frozen=True, gc=False):
    """What an address says; the host is lower case and without `www.`."""

    host: str | None = None
    path: str | None = None
    campaign: Campaign = UNTAGGED


NOWHERE = Page()

# A scheme and a host of plain letters, that the library does not treat in a way of its own.
_ORIGIN = re.compile(r"https?://([a-z0-9.-]+)(?::[0-9]{1,4})?")
_SHORTEST_ORIGIN = len("http://a")


def page(url: str) -> Page:
    """The parts of a page address, relative or absolute; an unreadable one has none."""
    # Most addresses were never seen before, their hosts and campaigns were; the library takes 8 us for one.
    at = url.find("/", _SHORTEST_ORIGIN)
    if at < 0 or at > CACHED_CHARACTERS or (host := _host(url[:at])) is None:
        return split(url)
    rest = url[at:]
    if not rest.isascii() or not rest.isprintable() or " " in rest:
        return split(url)
    path, _, query = rest.partition("#")[0].partition("?")
    return Page(host, path, _campaign(query) if query else UNTAGGED)


@lru_cache(maxsize=4096)
def _host(origin: str) -> str | None:
    plain = _ORIGIN.fullmatch(origin)
    return bare_host(plain[1]) if plain is not None else None


def _campaign(query: str) -> Campaign:
    return _cached(query) if len(query) <= CACHED_CHARACTERS else campaign(query)


_cached = lru_cache(maxsize=16_384)(campaign)


def split(url: str) -> Page:
    """As `page`, for an address of any form."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return NOWHERE
    path = parts.path or ("/" if host else None)
    return Page(bare_host(host), path, campaign(parts.query) if parts.query else UNTAGGED)


def bare_host(host: str | None) -> str | None:
    """A host without `www.` and the root's dot; None for an empty one."""
    return (host or "").lower().rstrip(".").removeprefix("www.") or None
