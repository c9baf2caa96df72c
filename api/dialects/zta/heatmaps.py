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
from schemas.heatmaps import HeatmapAnswer, HeatmapQuestion
from schemas.projects import Scope
from schemas.selection import Selection

_KINDS = ("click", "scroll", "move", "attention")
_NO_DATA = "No heatmap data found for this page"
# Attention is where pointers rest, told in bands of the page.
_BAND = 100


class Heatmaps:
    """The routes below `/api/heatmaps`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held = access.held

    def routes(self) -> list[Route]:
        return [
            Route("/api/heatmaps", self._map, methods=["GET"]),
            Route("/api/heatmaps/elements", self._elements, methods=["GET"]),
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
        width, height = answer.viewport or (0, 0)
        total, name = ("totalMovements", "movements") if kind == "move" else ("totalClicks", "clicks")
        counted = {total: answer.total, "pageviews": answer.pageviews, name: spots}
        return named(head | counted | {"viewport": {"width": width, "height": height}})

    async def _elements(self, request: Request) -> Response:
        answer, period = await self._answer(request, "click")
        counts: dict[tuple[str, str | None], int] = {}
        for spot in answer.spots:
            if spot.element is not None:
                place = spot.element, spot.text
                counts[place] = counts.get(place, 0) + spot.count
        limit = clamped(request.query_params.get("limit"), 10, 50)
        most = sorted(counts.items(), key=lambda item: (-item[1], item[0][0]))[:limit]
        elements = [
            {"element": element, "text": text, "clicks": count, "percentage": percentage(count, answer.total)}
            for (element, text), count in most
        ]
        return named({"path": request.query_params["path"], "period": period.name, "elements": elements})

    async def _answer(self, request: Request, action: str) -> tuple[HeatmapAnswer, Period]:
        key = await self._access.caller(request)
        self._access.demand(key, Scope.READ)
        query = request.query_params
        if not query.get("siteId") or not query.get("path"):
            raise bad("Site ID and path are required")
        if action not in _KINDS:
            raise bad("Invalid heatmap type. Must be: click, scroll, move, or attention")
        project = await self._access.site(key, query["siteId"])
        period = read_period(query, project.timezone, now())
        selection = Selection(project.id, period.span)
        question = HeatmapQuestion(selection, query["path"], action, query.get("device") or None)
        answer = told(await self._held.analytics.ask(question))
        if not answer.total:
            raise Failure(404, _NO_DATA)
        return answer, period


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
    counts: dict[int, int] = {}
    for spot in answer.spots:
        band = spot.y // _BAND * _BAND
        counts[band] = counts.get(band, 0) + spot.count
    return [
        {"top": band, "height": _BAND, "count": count, "percentage": percentage(count, answer.total)}
        for band, count in sorted(counts.items())
    ]
