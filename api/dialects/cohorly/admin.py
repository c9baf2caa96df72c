"""Cohorly's projects, events, people and counts, for an account's servers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth.acting import actor, blocking
from api.dialects.cohorly.access import account_key, project_of, projects_of
from api.dialects.cohorly.envelope import bare
from api.dialects.requests import clamped, json_of, now
from api.dialects.surface import Failure
from api.dialects.telling import told
from api.errors import not_found
from api.services import Services
from schemas.filters import equals
from schemas.instants import parse_instant, to_millis
from schemas.listing import EventsQuestion
from schemas.names import NamesQuestion
from schemas.people import PeopleQuestion, Person
from schemas.projects import Key, Project, Scope
from schemas.selection import Selection
from schemas.windows import ALWAYS
from storage.errors import Conflict
from storage.meta.projects import NewProject, create_project, delete_project

_BODY_BYTES = 64 * 1024
_MOST_ROWS = 1000


class Admin:
    """The routes below `/api` that ask for no analysis."""

    def __init__(self, held: Services) -> None:
        self._held = held

    def routes(self) -> list[Route]:
        return [
            Route("/api/projects", self._projects, methods=["GET"]),
            Route("/api/projects", self._create, methods=["POST"]),
            Route("/api/projects/{id}", self._delete, methods=["DELETE"]),
            Route("/api/events", self._events, methods=["GET"]),
            Route("/api/events/names", self._names, methods=["GET"]),
            Route("/api/events/properties", self._properties, methods=["GET"]),
            Route("/api/users", self._users, methods=["GET"]),
            Route("/api/users/{id:path}", self._user, methods=["GET"]),
            Route("/api/stats", self._stats, methods=["GET"]),
        ]

    async def _projects(self, request: Request) -> Response:
        key = await account_key(self._held, request)
        projects = await projects_of(self._held, key)
        return bare([await self._described(project) for project in projects])

    async def _create(self, request: Request) -> Response:
        key = await account_key(self._held, request, Scope.ADMIN)
        body = await json_of(request, _BODY_BYTES)
        name = body.get("name") if isinstance(body, dict) else None
        if not isinstance(name, str) or not name.strip():
            raise Failure(400, "missing name")
        by = actor(self._held, request, key)
        try:
            made = await blocking(
                create_project, self._held.database, key.account_id, NewProject(name), by, datetime.now(UTC)
            )
        except Conflict as error:
            raise Failure(409, "a project with this name already exists") from error
        except ValueError as error:
            raise Failure(400, "invalid name") from error
        return bare(await self._described(made), 201)

    async def _delete(self, request: Request) -> Response:
        key = await account_key(self._held, request, Scope.ADMIN)
        project = await project_of(self._held, key, request.path_params["id"])
        by = actor(self._held, request, key)
        try:
            # Here nothing can be taken back: project and data are lost at once.
            await blocking(delete_project, self._held.database, project.id, by, datetime.now(UTC), keep=timedelta())
        except Conflict as error:
            raise Failure(409, "the last project cannot be deleted") from error
        return bare({"ok": True})

    async def _events(self, request: Request) -> Response:
        project = await self._asked(request)
        limit = clamped(request.query_params.get("limit"), 100, _MOST_ROWS)
        answered = told(await self._held.analytics.ask(EventsQuestion(project.id, ALWAYS, limit)))
        return bare(
            [
                {
                    "event": item.event,
                    "distinct_id": item.user_id or "",
                    "time": parse_instant(item.timestamp),
                    "properties": item.properties,
                }
                for item in answered.items
            ]
        )

    async def _names(self, request: Request) -> Response:
        project = await self._asked(request)
        answered = told(await self._held.analytics.names(NamesQuestion(Selection(project.id, ALWAYS))))
        return bare([name.name for name in answered])

    async def _properties(self, request: Request) -> Response:
        project = await self._asked(request)
        if not (event := request.query_params.get("event")):
            raise Failure(400, "missing event")
        selection = Selection(project.id, ALWAYS, equals("event", event))
        answered = told(await self._held.analytics.properties(NamesQuestion(selection)))
        return bare([key.key for key in answered])

    async def _users(self, request: Request) -> Response:
        project = await self._asked(request)
        query = request.query_params
        question = PeopleQuestion(
            project.id, query.get("search", ""), limit=clamped(query.get("limit"), 50, _MOST_ROWS)
        )
        answered = told(await self._held.analytics.ask(question))
        return bare([_profile(person) for person in answered.people])

    async def _user(self, request: Request) -> Response:
        project = await self._asked(request)
        person = told(await self._held.analytics.person(project.id, request.path_params["id"]))
        if person is None:
            raise not_found()
        return bare(_profile(person))

    async def _stats(self, request: Request) -> Response:
        project = await self._asked(request)
        counts = told(await self._held.analytics.project_counts(project.id, _midnight(now())))
        return bare(
            {
                "events": counts.events,
                "users": counts.people,
                "profiles": counts.profiles,
                "event_names": counts.event_names,
                "events_today": counts.recent_events,
            }
        )

    async def _asked(self, request: Request) -> Project:
        key: Key = await account_key(self._held, request)
        return await project_of(self._held, key, request.query_params.get("projectId"))

    async def _described(self, project: Project) -> dict[str, Any]:
        counts = told(await self._held.analytics.project_counts(project.id, _midnight(now())))
        return {
            "id": project.id,
            "name": project.name,
            "token": project.token,
            "created_at": to_millis(project.created_at),
            "event_count": counts.events,
        }


def _profile(person: Person) -> dict[str, Any]:
    return {
        "distinct_id": person.user_id,
        "properties": msgspec.to_builtins(person.properties),
        "first_seen": person.first_seen,
        "last_seen": person.last_seen,
        "event_count": person.event_count,
    }


def _midnight(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
