"""What Cohorly's clients send: events, changes of profiles, and aliases."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth.acting import blocking
from api.auth.keys import authenticate
from api.dialects.cohorly.access import count_ingestion, project_of_token
from api.dialects.cohorly.envelope import bare
from api.dialects.cohorly.translation import InvalidRecord, alias_of, change_of, event_of, known_once, token_of
from api.dialects.requests import bearer, json_of
from api.dialects.surface import Failure
from api.errors import Problem
from api.ingest.intake import From, InvalidItem
from api.services import Services
from schemas.projects import Dialect
from storage.meta.projects import find_project

_BODY_BYTES = 1024 * 1024
_MOST_RECORDS = 500


class Ingestion:
    """`/track`, `/engage` and `/alias`. Of a refused request nothing is kept, single operations of `/engage` aside."""

    def __init__(self, held: Services) -> None:
        self._held = held

    def routes(self) -> list[Route]:
        return [
            Route("/track", self._track, methods=["POST"]),
            Route("/engage", self._engage, methods=["POST"]),
            Route("/alias", self._alias, methods=["POST"]),
        ]

    async def _track(self, request: Request) -> Response:
        records, projects = await self._read(request)
        events: list[tuple[int, Mapping[str, Any]]] = []
        for index, record in enumerate(records):
            try:
                events.append((projects[index], event_of(record)))
            except InvalidRecord as error:
                return _invalid(str(error), index)
        unique = known_once(events)
        try:
            await self._accept(request, unique)
        except InvalidItem as error:
            return _invalid("invalid event", events.index(unique[error.index]))
        return bare({"status": 1, "inserted": len(unique)})

    async def _engage(self, request: Request) -> Response:
        records, projects = await self._read(request)
        owned = await self._owned(request, set(projects))
        applied: list[tuple[int, Mapping[str, Any]]] = []
        refused: list[dict[str, Any]] = []
        for index, record in enumerate(records):
            try:
                event, guarded = change_of(record)
            except InvalidRecord as error:
                return _invalid(str(error), index)
            if guarded and projects[index] not in owned:
                refused += [{"index": index, "op": operation} for operation in sorted(guarded)]
            else:
                applied.append((projects[index], event))
        try:
            await self._accept(request, applied)
        except InvalidItem as error:
            return _invalid("invalid operation", error.index)
        if refused:
            text = "this needs the account key"
            return bare({"status": 0, "error": text, "applied": len(applied), "refused": refused})
        return bare({"status": 1, "applied": len(applied)})

    async def _alias(self, request: Request) -> Response:
        records, projects = await self._read(request)
        if len(records) != 1:
            raise Failure(400, "invalid alias")
        try:
            await self._accept(request, [(projects[0], alias_of(records[0]))])
        except (InvalidRecord, InvalidItem) as error:
            raise Failure(400, "invalid alias") from error
        return bare({"status": 1})

    async def _read(self, request: Request) -> tuple[list[Any], list[int]]:
        """The records and the project of each; aliases are few, and count against no limit."""
        if request.url.path != "/alias":
            count_ingestion(self._held, request)
        header = request.headers.get("x-cohorly-token")
        try:
            body = await json_of(request, _BODY_BYTES)
        except Problem as problem:
            # Who may not send is told that first, and no body says more of a client than its header does.
            if problem.status == 400 and header is not None:
                await project_of_token(self._held, header)
            raise
        records = body if isinstance(body, list) else [body]
        projects = [await project_of_token(self._held, token_of(record, header)) for record in records[:_MOST_RECORDS]]
        if len(records) > _MOST_RECORDS:
            raise Failure(400, "batch too large")
        if not records:
            await project_of_token(self._held, header)
        return records, projects

    async def _owned(self, request: Request, projects: set[int]) -> set[int]:
        """Those projects whose account's key came too."""
        if bearer(request) is None:
            return set()
        try:
            key = await authenticate(self._held.keys, bearer(request), Dialect.COHORLY)
        except Problem as problem:
            if problem.status != 401:
                raise
            return set()
        found = [await blocking(find_project, self._held.database, "id", project) for project in projects]
        return {project.id for project in found if project is not None and project.account_id == key.account_id}

    async def _accept(self, request: Request, events: list[tuple[int, Mapping[str, Any]]]) -> None:
        sender = From("cohorly", country=self._held.sender.country(request.scope))
        by_project: dict[int, list[Mapping[str, Any]]] = {}
        for project, event in events:
            by_project.setdefault(project, []).append(event)
        for project, of_project in by_project.items():
            await self._held.intake.accept(project, sender, of_project)


def _invalid(message: str, index: int) -> Response:
    return bare({"status": 0, "error": message, "index": index}, 400)
