"""`/segments` of the native surface: filters that every question takes by their id."""

from fastapi import APIRouter

from api.routes.kept import Crud, Keeping, Resource, add_routes
from schemas.kept import Segment
from schemas.projects import Role


def create_router(keeping: Keeping) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["segments"])
    example = {"name": "Germany", "filters": [{"key": "country", "op": "eq", "value": "DE"}]}
    add_routes(router, Crud(keeping, Resource(Segment, "/segments", example, role=Role.MEMBER)))
    return router
