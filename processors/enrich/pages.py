"""A page address taken apart: host, path and campaign."""

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from processors.enrich.campaigns import UNTAGGED, Campaign, campaign

# Longer addresses are understood too, but not kept in the cache, which must stay bounded in bytes.
CACHED_CHARACTERS = 1024


@dataclass(frozen=True, slots=True)
class Page:
    """What an address says; the host is lower case and without `www.`."""

    host: str | None = None
    path: str | None = None
    campaign: Campaign = UNTAGGED


NOWHERE = Page()

# A host of plain letters, and no character that the library treats in a way of its own.
_PLAIN = re.compile(r"https?://([a-z0-9.-]+)(?::[0-9]{1,4})?(/[!\x22$->@-~]*)?(?:\?([!\x22$-~]*))?(?:#[!-~]*)?\Z")


def page(url: str) -> Page:
    """The parts of a page address, relative or absolute; an unreadable one has none."""
    return _cached(url) if len(url) <= CACHED_CHARACTERS else _page(url)


def _page(url: str) -> Page:
    # Most addresses were never seen before, and the library takes 8 us for one.
    if (plain := _PLAIN.match(url)) is not None:
        host, path, query = plain.groups()
        return Page(bare_host(host), path or "/", campaign(query) if query else UNTAGGED)
    return split(url)


def split(url: str) -> Page:
    """As `page`, for an address of any form."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return NOWHERE
    path = parts.path or ("/" if host else None)
    return Page(bare_host(host), path, campaign(parts.query) if parts.query else UNTAGGED)


_cached = lru_cache(maxsize=16_384)(_page)


def bare_host(host: str | None) -> str | None:
    """A host without `www.` and the root's dot; None for an empty one."""
    return (host or "").lower().rstrip(".").removeprefix("www.") or None
