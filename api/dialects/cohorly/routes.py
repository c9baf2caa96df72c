"""Cohorly's routes."""

from api.dialects.cohorly.admin import Admin
from api.dialects.cohorly.envelope import cors, error_body, preflight
from api.dialects.cohorly.flags import Flags
from api.dialects.cohorly.ingestion import Ingestion
from api.dialects.cohorly.privacy import Privacy
from api.dialects.cohorly.queries import Queries
from api.dialects.cohorly.status import Status
from api.dialects.surface import Surface
from api.services import Services


def surface(held: Services) -> Surface:
    """The dialect over a process's services."""
    parts = (Ingestion(held), Admin(held), Queries(held), Privacy(held), Status(held), Flags(held))
    routes = [route for part in parts for route in part.routes()]
    return Surface("cohorly", routes, error_body, cors, preflight)
