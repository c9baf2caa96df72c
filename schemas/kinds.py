"""Event names with a meaning of their own: pageviews and system events."""

from functools import lru_cache

from schemas.people import CHANGES

SYSTEM_EVENTS = frozenset({"$engagement", "$heartbeat", "$heatmap"}) | CHANGES

_PAGEVIEWS = ("pageview", "pageviewed")
_IGNORED = str.maketrans("", "", "$_- ")


@lru_cache(maxsize=4096)
def is_pageview(name: str) -> bool:
    """Whether an event of this name is a pageview: `page_view`, `$pageview`, `Page View`, `Page Viewed`."""
    return name.lower().translate(_IGNORED) in _PAGEVIEWS


@lru_cache(maxsize=4096)
def kind_of(name: str) -> tuple[bool, bool]:
    """(is_pageview, is_system) in one look."""
    return is_pageview(name), is_system(name)


def is_system(name: str) -> bool:
    """Whether the event only extends sessions and presence, and is in no count or list."""
    return name in SYSTEM_EVENTS
