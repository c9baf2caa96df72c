"""A page address taken apart: host, path and campaign."""

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


def page(url: str) -> Page:
    """The parts of a page address, relative or absolute; an unreadable one has none."""
    return _cached(url) if len(url) <= CACHED_CHARACTERS else _page(url)


def _page(url: str) -> Page:
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
