"""Funnels of a site and who went through them."""

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
from api.dialects.zta.things import Things, goals_by_id, name_of
from schemas.conversions import funnel_question
from schemas.figures import percentage
from schemas.filters import both, equals
from schemas.funnels import FunnelAnswer, FunnelStep
from schemas.kept import Funnel, Goal
from schemas.projects import Project, Role, Scope
from schemas.selection import Selection
from schemas.windows import Bucket
from storage.meta.kept import Kept

_PERIODS = ("24h", "7d", "30d", "90d")
_KINDS = ("pageview", "event", "goal")
_MOST_STEPS = 10
_TEXTS = {"steps": "Invalid funnel steps", "windowSeconds": "Invalid timeWindow"}


class Funnels:
    """The routes below `/api/funnels`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held = access.held
        self._things: Things[Funnel] = Things(access, Funnel, "Funnel", _TEXTS)
        self._goals: Things[Goal] = Things(access, Goal, "Goal", {})

    def routes(self) -> list[Route]:
        return [
            Route("/api/funnels", self._list, methods=["GET"]),
            Route("/api/funnels", self._create, methods=["POST"]),
            Route("/api/funnels", self._delete, methods=["DELETE"]),
            Route("/api/funnels/{id}/stats", self._stats, methods=["GET"]),
        ]

    async def _list(self, request: Request) -> Response:
        _, project = await self._access.read(request)
        period = named_period("30d", ZoneInfo(project.timezone), now())
        funnels = []
        for funnel in await self._things.all(project):
            answer = await self._answer(project, funnel.body, Selection(project.id, period.span))
            entered, completed = answer.steps[0].count, answer.steps[-1].count
            funnels.append(
                _described(funnel)
                | {
                    "totalVisitors": entered,
                    "completions": completed,
                    "conversionRate": percentage(completed, entered),
                    "createdAt": instant(funnel.created_at),
                }
            )
        return named({"funnels": funnels})

    async def _create(self, request: Request) -> Response:
        key, body = await self._access.change(request, Scope.WRITE)
        project = await self._access.site(key, body.get("siteId"), Role.MEMBER)
        values = {
            "name": name_of(body, "Funnel"),
            "steps": _steps(body.get("steps")),
            "windowSeconds": body.get("timeWindow", 3600),
        }
        made = await self._things.create(request, key, project, values)
        fresh = {"totalVisitors": 0, "completions": 0, "conversionRate": 0, "createdAt": instant(made.created_at)}
        return named({"funnel": _described(made) | {"timeWindow": made.body.window_seconds} | fresh}, 201)

    async def _delete(self, request: Request) -> Response:
        return await self._things.delete(request)

    async def _stats(self, request: Request) -> Response:
        key = await self._access.caller(request)
        self._access.demand(key, Scope.READ)
        project, funnel = await self._things.find(key, request.path_params["id"])
        period = read_period(request.query_params, project.timezone, now(), "30d", _PERIODS)
        selection = Selection(project.id, period.span)
        if device := request.query_params.get("device"):
            selection = Selection(project.id, period.span, both(selection.filters, equals("device", device)))
        answer = await self._answer(project, funnel.body, selection, period.days)
        entered, completed = answer.steps[0].count, answer.steps[-1].count
        return named(
            {
                "funnel": {"id": funnel.id, "name": funnel.body.name, "timeWindow": funnel.body.window_seconds},
                "stats": {
                    "totalVisitors": entered,
                    "completions": completed,
                    "overallConversionRate": percentage(completed, entered),
                    "avgTimeToComplete": round(answer.mean_seconds or 0),
                },
                "steps": progress(answer.steps),
                "timeseries": [
                    {
                        "date": point.date,
                        "visitors": point.entered,
                        "completions": point.completed,
                        "conversionRate": percentage(point.completed, point.entered),
                    }
                    for point in answer.series
                ],
                "topPaths": [
                    {"path": list(path.path), "count": path.count, "avgTime": round(path.mean_seconds)}
                    for path in answer.paths
                ],
            }
        )

    async def _answer(
        self, project: Project, funnel: Funnel, selection: Selection, days: tuple[Bucket, ...] = ()
    ) -> FunnelAnswer:
        goals = await goals_by_id(self._goals, project)
        return told(await self._held.analytics.ask(funnel_question(funnel, goals, selection, days)))


def progress(steps: tuple[FunnelStep, ...]) -> list[dict[str, Any]]:
    """Steps with what was lost and kept on the way to the next, as ZTA's sample has it; time is that on a step."""
    found = []
    for number, step in enumerate(steps, 1):
        following = steps[number] if number < len(steps) else None
        lost = step.count - following.count if following is not None else 0
        found.append(
            {
                "stepNumber": number,
                "name": step.name,
                "visitors": step.count,
                "dropOff": lost,
                "dropOffRate": percentage(lost, step.count),
                "progressRate": percentage(step.count - lost, step.count) if following is not None else 100.0,
                "avgTimeOnStep": round((following.mean_seconds if following is not None else None) or 0),
            }
        )
    return found


def _steps(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or len(value) < 2:
        raise bad("Funnel must have at least 2 steps")
    if len(value) > _MOST_STEPS:
        raise bad(f"Funnel cannot have more than {_MOST_STEPS} steps")
    steps = []
    for step in value:
        if not isinstance(step, dict) or step.get("type") not in _KINDS:
            raise bad("Invalid step type. Must be: pageview, event, or goal")
        kept = {
            "type": step["type"],
            "name": step.get("name") or step.get("path") or step.get("eventAction") or step.get("goalId") or "",
            "path": step.get("path"),
            "matchType": step.get("matchType") or "exact",
            "event": step.get("eventAction"),
            "eventCategory": step.get("eventCategory"),
            "goalId": step.get("goalId"),
        }
        steps.append({name: item for name, item in kept.items() if item is not None})
    return steps


def _described(funnel: Kept[Funnel]) -> dict[str, Any]:
    steps = []
    for number, step in enumerate(funnel.body.steps, 1):
        shown: dict[str, Any] = {"id": f"step_{number}", "name": step.name, "type": step.type}
        shown |= {} if step.path is None else {"path": step.path, "matchType": step.match_type}
        shown |= {} if step.event is None else {"eventAction": step.event}
        shown |= {} if step.goal_id is None else {"goalId": step.goal_id}
        steps.append(shown)
    return {"id": funnel.id, "name": funnel.body.name, "steps": steps}
