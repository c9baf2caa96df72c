"""Where people click, move and scroll on a page of a site."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.dialects.requests import clamped, now
from api.dialects.surface import Failure
from api.dialects.telling import told
from api.dialects.zta.access import Access
from api.dialects.zta.envelope import bad, named
from api.dialects.zta.parameters import Period, read_period
from schemas.figures import percentage
from schemas.heatmaps import (
    BAND,
    ClickKind,
    ClickPlace,
    ClicksAnswer,
    ClicksQuestion,
    HeatmapAnswer,
    HeatmapQuestion,
)
from schemas.projects import Scope
from schemas.selection import Selection

_KINDS = ("click", "scroll", "move", "attention")
_NO_DATA = "No heatmap data found for this page"
_MOST_PLACES = 100
# Of pages that do not say theirs.
_DESKTOP = (1280, 1024)
_VIEWPORTS = {"tablet": (768, 1024), "mobile": (375, 667)}


class Heatmaps:
    """The routes below `/api/heatmaps`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held = access.held

    def routes(self) -> list[Route]:
        return [
            Route("/api/heatmaps", self._map, methods=["GET"]),
            Route("/api/heatmaps/elements", self._elements, methods=["GET"]),
            Route("/api/heatmaps/rage-clicks", self._rage, methods=["GET"]),
            Route("/api/heatmaps/dead-clicks", self._dead, methods=["GET"]),
        ]

    async def _map(self, request: Request) -> Response:
        kind = request.query_params.get("type")
        answer, period = await self._answer(request, "move" if kind == "attention" else kind or "")
        head: dict[str, Any] = {"type": kind, "path": request.query_params["path"], "period": period.name}
        if kind == "scroll":
            return named(head | _scrolled(answer))
        if kind == "attention":
            return named(head | {"pageviews": answer.pageviews, "areas": _areas(answer)})
        spots = [
            {
                "x": spot.x,
                "y": spot.y,
                "count": spot.count,
                "percentage": percentage(spot.count, answer.total),
                "element": spot.element,
                "text": spot.text,
            }
            for spot in answer.spots
        ]
        width, height = answer.viewport or _VIEWPORTS.get(request.query_params.get("device") or "", _DESKTOP)
        total, name = ("totalMovements", "movements") if kind == "move" else ("totalClicks", "clicks")
        counted = {total: answer.total, "pageviews": answer.pageviews, name: spots}
        return named(head | counted | {"viewport": {"width": width, "height": height}})

    async def _elements(self, request: Request) -> Response:
        limit = clamped(request.query_params.get("limit"), 10, 50)
        head, answer = await self._clicks(request, "elements", limit)
        elements = [_element(place) | _share("clicks", place, answer) for place in answer.places]
        return named(head | {"elements": elements})

    async def _rage(self, request: Request) -> Response:
        head, answer = await self._clicks(request, "rage")
        spots = [
            _spot(place)
            | _share("clicks", place, answer)
            | {"occurrences": place.bursts, "maxClicks": place.longest, "severity": place.severity}
            for place in answer.places
        ]
        return named(head | {"totalClicks": answer.total, "totalRageClicks": answer.found, "rageClicks": spots})

    async def _dead(self, request: Request) -> Response:
        head, answer = await self._clicks(request, "dead")
        spots = [_spot(place) | _share("count", place, answer) for place in answer.places]
        return named(head | {"totalClicks": answer.total, "totalDeadClicks": answer.found, "deadClicks": spots})

    async def _answer(self, request: Request, action: str) -> tuple[HeatmapAnswer, Period]:
        selection, period = await self._selected(request, action)
        query = request.query_params
        question = HeatmapQuestion(selection, query["path"], action, query.get("device") or None)
        answer = told(await self._held.analytics.ask(question))
        if not answer.total:
            raise Failure(404, _NO_DATA)
        return answer, period

    async def _clicks(
        self, request: Request, kind: ClickKind, limit: int = _MOST_PLACES
    ) -> tuple[dict[str, Any], ClicksAnswer]:
        selection, period = await self._selected(request, "click")
        query = request.query_params
        question = ClicksQuestion(selection, query["path"], kind, query.get("device") or None, limit)
        answer = told(await self._held.analytics.ask(question))
        if not answer.total:
            raise Failure(404, _NO_DATA)
        return {"path": query["path"], "period": period.name}, answer

    async def _selected(self, request: Request, action: str) -> tuple[Selection, Period]:
        key = await self._access.caller(request)
        self._access.demand(key, Scope.READ)
        query = request.query_params
        if not query.get("siteId") or not query.get("path"):
            raise bad("Site ID and path are required")
        if action not in _KINDS:
            raise bad("Invalid heatmap type. Must be: click, scroll, move, or attention")
        project = await self._access.site(key, query["siteId"])
        period = read_period(query, project.timezone, now())
        return Selection(project.id, period.span), period


def _element(place: ClickPlace) -> dict[str, Any]:
    return {"element": place.element, "text": place.text}


def _spot(place: ClickPlace) -> dict[str, Any]:
    return {"x": place.x, "y": place.y} | _element(place) | {"visitors": place.visitors}


def _share(name: str, place: ClickPlace, answer: ClicksAnswer) -> dict[str, Any]:
    return {name: place.clicks, "percentage": percentage(place.clicks, answer.total)}


def _scrolled(answer: HeatmapAnswer) -> dict[str, Any]:
    return {
        "pageviews": answer.pageviews,
        "scrollDepth": [
            {
                "depth": depth.percent,
                "percentage": percentage(depth.visitors, answer.visitors),
                "visitors": depth.visitors,
            }
            for depth in answer.depths
        ],
        "avgScrollDepth": round(answer.mean_depth, 1),
        "foldHeight": answer.viewport[1] if answer.viewport else None,
    }


def _areas(answer: HeatmapAnswer) -> list[dict[str, Any]]:
    return [
        {"top": band.top, "height": BAND, "count": band.count, "percentage": percentage(band.count, answer.total)}
        for band in answer.bands
    ]
