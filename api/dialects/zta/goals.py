"""Goals of a site and how often they were reached."""

from typing import Any
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.dialects.requests import now
from api.dialects.telling import told
from api.dialects.zta.access import Access
from api.dialects.zta.envelope import bad, named
from api.dialects.zta.parameters import instant, named_period, read_period
from api.dialects.zta.things import Things, chosen, name_of
from schemas.conversions import goal_question
from schemas.goals import Conversion, GoalAnswer
from schemas.kept import Goal
from schemas.projects import Role, Scope
from schemas.selection import Selection
from storage.meta.kept import Kept

_PERIODS = ("24h", "7d", "30d", "90d")
_TEXTS = {"matchType": "Invalid matchType. Must be: exact, contains, or regex", "path": "Invalid path: {value}"}


class Goals:
    """The routes below `/api/goals`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held = access.held
        self._things: Things[Goal] = Things(access, Goal, "Goal", _TEXTS)

    def routes(self) -> list[Route]:
        return [
            Route("/api/goals", self._list, methods=["GET"]),
            Route("/api/goals", self._create, methods=["POST"]),
            Route("/api/goals", self._delete, methods=["DELETE"]),
            Route("/api/goals/{id}/stats", self._stats, methods=["GET"]),
        ]

    async def _list(self, request: Request) -> Response:
        _, project = await self._access.read(request)
        period = named_period("30d", ZoneInfo(project.timezone), now())
        goals = []
        for goal in await self._things.all(project):
            answer = await self._answer(goal.body, Selection(project.id, period.span))
            goals.append(
                described(goal)
                | {"completions": answer.total.completions, "conversionRate": answer.total.rate}
                | {"createdAt": instant(goal.created_at)}
            )
        return named({"goals": goals})

    async def _create(self, request: Request) -> Response:
        key, body = await self._access.change(request, Scope.WRITE)
        project = await self._access.site(key, body.get("siteId"), Role.MEMBER)
        made = await self._things.create(request, key, project, goal_values(body))
        fresh = {"completions": 0, "conversionRate": 0, "createdAt": instant(made.created_at)}
        return named({"goal": described(made) | fresh}, 201)

    async def _delete(self, request: Request) -> Response:
        return await self._things.delete(request)

    async def _stats(self, request: Request) -> Response:
        key = await self._access.caller(request)
        self._access.demand(key, Scope.READ)
        project, goal = await self._things.find(key, request.path_params["id"])
        period = read_period(request.query_params, project.timezone, now(), "30d", _PERIODS)
        days = period.days
        question = goal_question(goal.body, Selection(project.id, period.span), days)
        answer = told(await self._held.analytics.ask(question))
        completions = answer.total.completions
        return named(
            {
                "goal": {"id": goal.id, "name": goal.body.name, "type": goal.body.type, "path": goal.body.path},
                "stats": {
                    "completions": completions,
                    "uniqueCompletions": answer.total.people,
                    "conversionRate": answer.total.rate,
                    "totalValue": answer.value,
                    "avgValue": round(answer.value / completions, 2) if completions else 0,
                },
                "timeseries": _conversions("date", answer.series),
                "topSources": _conversions("source", answer.sources),
                "topPages": _conversions("path", answer.pages),
            }
        )

    async def _answer(self, goal: Goal, selection: Selection) -> GoalAnswer:
        return told(await self._held.analytics.ask(goal_question(goal, selection)))


def described(goal: Kept[Goal]) -> dict[str, Any]:
    """A goal by ZTA's names, with what its type needs."""
    body = goal.body
    shown: dict[str, Any] = {"id": goal.id, "name": body.name, "type": body.type}
    if body.type == "pageview":
        shown |= {"path": body.path, "matchType": body.match_type}
    elif body.type == "event":
        shown |= {"eventAction": body.event}
        shown |= {} if body.event_category is None else {"eventCategory": body.event_category}
        shown |= {} if body.event_label is None else {"eventLabel": body.event_label}
    else:
        shown |= {"durationSeconds": body.duration_seconds}
    return shown | {"value": body.value}


def goal_values(body: Any) -> dict[str, Any]:
    """What is kept of a goal as ZTA's clients send it. Raises Failure."""
    name = name_of(body, "Goal")
    kinds = ("pageview", "event", "duration")
    kind = chosen(body, "type", kinds, "Invalid goal type. Must be: pageview, event, or duration")
    needed = {
        "pageview": ("path", "Path is required for pageview goals"),
        "event": ("eventAction", "Event action is required for event goals"),
        "duration": ("durationSeconds", "Duration is required for duration goals"),
    }
    field, text = needed[kind]
    if not body.get(field):
        raise bad(text)
    return {
        "name": name,
        "type": kind,
        "path": body.get("path") if kind == "pageview" else None,
        "matchType": body.get("matchType") or "exact",
        "event": body.get("eventAction") if kind == "event" else None,
        "eventCategory": body.get("eventCategory"),
        "eventLabel": body.get("eventLabel"),
        "durationSeconds": body.get("durationSeconds") if kind == "duration" else None,
        "value": body.get("value") or 0,
    }


def _conversions(name: str, found: tuple[Conversion, ...]) -> list[dict[str, Any]]:
    return [{name: one.name, "completions": one.completions, "conversionRate": one.rate} for one in found]
