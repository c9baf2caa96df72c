"""Kept things of sites, found by their id alone, and every refusal in ZTA's words."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Generic

from starlette.requests import Request
from starlette.responses import Response

from api.auth.acting import blocking
from api.dialects.surface import Failure
from api.dialects.telling import in_zone
from api.dialects.zta.access import Access
from api.dialects.zta.envelope import bad, deleted, unknown
from schemas.keeping import InvalidKept, UnknownReference, body_of
from schemas.kept import Goal, T
from schemas.projects import Key, Project, Role, Scope
from schemas.questions import InvalidQuestion
from storage.errors import Conflict, NotFound
from storage.meta.kept import Kept
from storage.meta.team import reachable_projects

_LONGEST_NAME = 100
Texts = Mapping[str, str]


class Things(Generic[T]):
    """One kind of them. `texts` are the refusals of fields; a field without one is `Invalid <field>`."""

    def __init__(self, access: Access, kind: type[T], name: str, texts: Texts) -> None:
        self.access = access
        self.held = access.held
        self._kind = kind
        self._name = name
        self._texts = texts

    async def all(self, project: Project) -> list[Kept[T]]:
        """Those of a site, in the order they were made."""
        return await blocking(self.held.things.all, self._kind, project.id)

    async def find(self, key: Key, thing_id: Any, role: Role = Role.VIEWER) -> tuple[Project, Kept[T]]:
        """A thing of any site that the user may see; raises Failure 403, 404."""
        if isinstance(thing_id, str) and thing_id:
            for project, held in await blocking(reachable_projects, self.held.database, key.account_id):
                if key.project_id not in (None, project.id):
                    continue
                found = await blocking(self.held.things.get, self._kind, project.id, thing_id)
                if found is None:
                    continue
                if not held.includes(role):
                    raise Failure(403, "Access denied")
                in_zone(project.timezone)
                return project, found
        raise unknown(self._name)

    async def create(
        self, request: Request, key: Key, project: Project, values: Mapping[str, Any], secret: bytes | None = None
    ) -> Kept[T]:
        """Keep what the values say; raises Failure 400, 404."""
        by, at = self.access.by(request, key), datetime.now(UTC)
        return await self._refused(
            lambda: blocking(
                lambda: self.held.things.create(project.id, body_of(self._kind, values), by, at, secret=secret)
            )
        )

    async def change(
        self, request: Request, key: Key, project: Project, thing_id: str, changed: Callable[[T], T]
    ) -> Kept[T]:
        """Replace a thing by what `changed` makes of it; raises Failure 400, 404."""
        by, at = self.access.by(request, key), datetime.now(UTC)
        return await self._refused(
            lambda: blocking(self.held.things.change, self._kind, project.id, thing_id, changed, by, at)
        )

    async def delete(self, request: Request, scope: Scope = Scope.WRITE) -> Response:
        """`DELETE ?id=`; what happened before is kept."""
        key, _ = await self.access.change(request, scope)
        project, found = await self.find(key, request.query_params.get("id"), Role.ADMIN)
        await self.remove(request, key, project, found.id)
        return deleted(self._name)

    async def remove(self, request: Request, key: Key, project: Project, thing_id: str) -> None:
        """Forget a thing; raises Failure 404."""
        by, at = self.access.by(request, key), datetime.now(UTC)
        try:
            await blocking(self.held.things.delete, self._kind, project.id, thing_id, by, at)
        except NotFound as error:
            raise unknown(self._name) from error

    async def _refused(self, work: Callable[[], Awaitable[Kept[T]]]) -> Kept[T]:
        try:
            return await work()
        except UnknownReference as error:
            raise Failure(404, f"{error.kind.title()} not found: {error.thing_id}") from error
        except (InvalidKept, InvalidQuestion) as error:
            field = getattr(error, "field", "")
            text = self._texts.get(field, str(error))
            raise bad(text.format(value=getattr(error, "value", ""))) from error
        except Conflict as error:
            raise Failure(403, f"{self._name} limit reached. Upgrade to create more {self._name.lower()}s.") from error
        except NotFound as error:
            raise unknown(self._name) from error


def name_of(body: Mapping[str, Any], thing: str) -> str:
    """The required name. Raises Failure."""
    name = body.get("name")
    if not isinstance(name, str) or not name.strip():
        raise bad(f"{thing} name is required")
    if len(name) > _LONGEST_NAME:
        raise bad(f"{thing} name must be at most {_LONGEST_NAME} characters")
    return name


def chosen(body: Mapping[str, Any], field: str, allowed: Iterable[str], text: str, default: str | None = None) -> str:
    """One of some words. Raises Failure with the text."""
    value = body.get(field, default)
    if not isinstance(value, str) or value not in allowed:
        raise bad(text)
    return value


async def goals_by_id(things: Things[Goal], project: Project) -> dict[str, Goal]:
    """The goals that steps may name."""
    return {goal.id: goal.body for goal in await things.all(project)}
