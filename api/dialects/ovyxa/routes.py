"""Ovyxa's routes under `/api/v1`."""

from starlette.routing import Route

from api.dialects.ovyxa.envelope import cors, error_body, preflight
from api.dialects.ovyxa.events import Events
from api.dialects.ovyxa.login import Login
from api.dialects.ovyxa.stats import Statistics
from api.dialects.surface import Surface
from api.services import Services


def surface(held: Services) -> Surface:
    """The dialect over a process's services."""
    events, login = Events(held), Login(held)
    routes = [
        Route("/api/v1/auth/login", login.login, methods=["POST"]),
        Route("/api/v1/events/pageview", events.pageview, methods=["POST"]),
        # At the root `/api/v1/events` is the native surface's; only the strict prefix leads here.
        *(Route(f"/api/v1/events{path}", events.custom, methods=["POST"]) for path in ("/custom", "/event", "")),
        *Statistics(held).routes(),
    ]
    return Surface("ovyxa", routes, error_body, cors, preflight)
