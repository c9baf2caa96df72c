"""`/annotations` of the native surface: what happened on which day."""

from fastapi import APIRouter

from api.routes.kept import Crud, Item, Keeping, Resource, add_routes, shown
from schemas.kept import Annotation
from schemas.projects import Role
from storage.meta.kept import Kept


def create_router(keeping: Keeping) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["annotations"])
    example = {"date": "2026-02-22", "title": "New prices"}
    add_routes(router, Crud(keeping, Resource(Annotation, "/annotations", example, role=Role.MEMBER, show=_shown)))
    return router


def _shown(thing: Kept[Annotation]) -> Item:
    return shown(thing) | {"createdBy": thing.creator}
