"""The native routes over a lake of a test, without a door."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
from fastapi import FastAPI, Request, Response

from api.analytics.answering import Analytics, LogFinder
from api.analytics.log_state import LogView, SilentLog
from api.dependencies import Access
from api.errors import Problem
from api.routes import breakdowns, downloads, events, lake, metrics, names, overview, people, queries, sessions, sql
from schemas.projects import Dialect, Key, Scope
from storage.query.engine import EnginePolicy, QueryEngine
from storage.query.lake import Lake
from tests.fakes import FakeKeys

KEY = {"X-API-Key": "reader"}


def _key(name: str, scope: Scope, project: int | None = 1, dialect: Dialect = Dialect.JCHT) -> Key:
    return Key(name, dialect, scope, account_id=1, project_id=project)


def some_keys() -> FakeKeys:
    """One key for each thing that can be wrong with it."""
    return FakeKeys(
        {
            b"reader": _key("reader", Scope.READ),
            b"other": _key("other", Scope.READ, project=2),
            b"analyst": _key("analyst", Scope.SQL),
            b"sender": _key("sender", Scope.INGEST),
            b"account": _key("account", Scope.ADMIN, project=None),
            b"foreign": _key("foreign", Scope.ADMIN, dialect=Dialect.COHORLY),
        }
    )


class Client:
    """Asks in an event loop of its own and waits."""

    def __init__(self, runner: asyncio.Runner, client: httpx.AsyncClient) -> None:
        self._runner = runner
        self._client = client

    def get(
        self, path: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """One request."""
        return self._runner.run(self._client.get(path, params=params, headers=headers))

    def post(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """One request with a JSON body."""
        return self._runner.run(self._client.post(path, json=body, headers=headers))


@contextmanager
def surface(
    place: Path | str,
    *,
    log: LogView | None = None,
    finder: LogFinder | None = None,
    headers: Mapping[str, str] = KEY,
    find_goal: queries.GoalFinder = queries.no_goals,
) -> Iterator[Client]:
    """A client of the routes; its lake is always as fresh as the last commit."""
    keys = some_keys()
    access = Access(keys, keys.find_project)
    engine = QueryEngine(place, EnginePolicy(threads=2))
    analytics = Analytics(engine, Lake(place, max_age_seconds=0), log or SilentLog(), lambda: 1, finder)
    app = FastAPI()
    routers = [
        module.create_router(analytics, access)
        for module in (names, downloads, events, metrics, overview, breakdowns, sessions, people, sql, lake)
    ]
    for router in (*routers, queries.create_router(analytics, access, find_goal)):
        app.include_router(router, prefix="/api/v1")
    app.add_exception_handler(Problem, _answer)
    transport = httpx.ASGITransport(app)
    with asyncio.Runner() as runner:
        client = httpx.AsyncClient(transport=transport, base_url="http://gauge", headers=headers)
        try:
            yield Client(runner, client)
        finally:
            runner.run(client.aclose())
            analytics.close()


async def _answer(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    headers = {name.decode(): value.decode() for name, value in problem.headers}
    return Response(problem.body, problem.status, headers, "application/json")
