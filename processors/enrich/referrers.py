"""Where a person came from: the referring domain and the channel."""

from functools import lru_cache
from urllib.parse import urlsplit

from processors.enrich.pages import CACHED_CHARACTERS, bare_host
from processors.enrich.sites import is_search, is_social
from schemas.rows import Arrival, Channel

DIRECT = "(direct)"

_PAID = ("cpc", "ppc", "display", "cpm")
_EMAIL = ("email", "e-mail", "e_mail", "e mail")


def arrival(referrer: str | None, host: str | None, medium: str | None) -> Arrival:
    """How a visit of a page on `host` came about, by its referrer and its utm_medium."""
    size = len(referrer or "") + len(host or "") + len(medium or "")
    return _cached(referrer, host, medium) if size <= CACHED_CHARACTERS else _arrival(referrer, host, medium)


def _arrival(referrer: str | None, host: str | None, medium: str | None) -> Arrival:
    domain = referrer_domain(referrer) if referrer else None
    if domain == host:
        domain = None
    return Arrival(domain or DIRECT, channel(domain, medium))


_cached = lru_cache(maxsize=16_384)(_arrival)


def referrer_domain(referrer: str) -> str | None:
    """The host of a referrer without `www.`; None where no host can be read."""
    try:
        host = urlsplit(referrer if "://" in referrer else f"//{referrer}").hostname
    except ValueError:
        return None
    # Words in place of an address (`direct`, `$direct`) are no hosts, `localhost` is.
    if host is None or not ("." in host or ":" in host or "://" in referrer) or any(c.isspace() for c in host):
        return None
    return bare_host(host)


def channel(domain: str | None, medium: str | None) -> Channel:
    """The traffic source; the first rule that matches counts."""
    tagged = (medium or "").strip().lower()
    if tagged in _PAID or tagged.startswith("paid"):
        return "paid"
    if tagged.startswith("social") or (domain is not None and is_social(domain)):
        return "social"
    if tagged in _EMAIL:
        return "email"
    if domain is None:
        return "direct"
    return "organic" if is_search(domain) else "referral"
