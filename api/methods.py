"""Which methods a path answers: it may have a route for each, and the framework's 405 tells of the first alone."""

from collections.abc import Iterable
from typing import Final

from starlette.routing import BaseRoute, Match
from starlette.types import Scope

_METHODS: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def allowed(routes: Iterable[BaseRoute], scope: Scope) -> list[str]:
    """All methods for which one of the routes takes the request, and OPTIONS, which every path answers."""
    known = list(routes)
    found = {
        method
        for method in _METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in known)
    }
    if "GET" in found:
        found.add("HEAD")
    return sorted(found | {"OPTIONS"})
