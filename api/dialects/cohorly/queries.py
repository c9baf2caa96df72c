"""Cohorly's three questions: segmentation, funnels and retention."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.dialects.cohorly.access import account_key, project_of
from api.dialects.cohorly.envelope import bare
from api.dialects.requests import json_of, now
from api.dialects.surface import Failure
from api.dialects.telling import told
from api.services import Services
from schemas.filters import EVERYTHING, AllOf, Filter, both, equals, filter_of
from schemas.funnels import FunnelQuestion, Step
from schemas.instants import format_millis
from schemas.questions import InvalidQuestion
from schemas.retention import RetentionQuestion, parse_unit
from schemas.selection import Selection
from schemas.series import MAX_SERIES, Measure, Metric, SeriesQuestion
from schemas.windows import Interval, InvalidWindow, TimeRange, buckets, parse_range

_BODY_BYTES = 256 * 1024
_UTC = ZoneInfo("UTC")
_OPERATORS = frozenset({"eq", "neq", "contains", "set", "not_set"})
_METRICS = {"total": Metric.EVENTS_COUNT, "unique": Metric.UNIQUE_USERS}


class Queries:
    """The routes below `/api/query`."""

    def __init__(self, held: Services) -> None:
        self._held = held

    def routes(self) -> list[Route]:
        return [
            Route("/api/query/segmentation", self._segmentation, methods=["POST"]),
            Route("/api/query/funnel", self._funnel, methods=["POST"]),
            Route("/api/query/retention", self._retention, methods=["POST"]),
        ]

    async def _segmentation(self, request: Request) -> Response:
        selection, body = await self._read(request)
        with _invalid():
            event = _text(body, "event", required=True)
            metric = _METRICS.get(body.get("type", "total"))
            if metric is None:
                raise InvalidQuestion("invalid type")
            unit = _unit(body, tuple(Interval))
            points = tuple(buckets(selection.span, unit, _UTC))
            wanted = both(equals("event", event), _filters(body.get("filters")))
            dimension = _text(body, "breakdown")
            question = SeriesQuestion(
                replace(selection, filters=wanted), Measure(metric), points, dimension or None, MAX_SERIES, True
            )
        answer = told(await self._held.analytics.ask(question))
        labels = [point.label for point in points]
        series = [
            {
                "name": one.name if dimension else event,
                "data": [{"bucket": label, "value": value or 0} for label, value in zip(labels, one.data, strict=True)],
            }
            for one in answer.series
            if not one.is_other
        ]
        return bare({"buckets": labels, "series": series})

    async def _funnel(self, request: Request) -> Response:
        selection, body = await self._read(request)
        with _invalid():
            names = body.get("steps")
            if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
                raise InvalidQuestion("invalid steps")
            days = body.get("windowDays", 7)
            if not isinstance(days, int | float) or isinstance(days, bool) or not 0 < days <= 366:
                raise InvalidQuestion("invalid windowDays")
            steps = tuple(Step(name, equals("event", name)) for name in names)
            question = FunnelQuestion(selection, steps, timedelta(days=days))
        steps_found = told(await self._held.analytics.ask(question)).steps
        first = steps_found[0].count
        counts = [first, *(step.count for step in steps_found)]
        return bare(
            [
                {
                    "step": step.name,
                    "count": step.count,
                    "conversion_from_prev": _ratio(step.count, before),
                    "conversion_from_start": _ratio(step.count, first),
                }
                for before, step in zip(counts, steps_found, strict=False)
            ]
        )

    async def _retention(self, request: Request) -> Response:
        selection, body = await self._read(request)
        with _invalid():
            unit = parse_unit(_text(body, "unit") or None)
            points = tuple(buckets(selection.span, unit, _UTC))
            question = RetentionQuestion(selection, points, _named(body, "bornEvent"), _named(body, "returnEvent"))
        cohorts = told(await self._held.analytics.ask(question)).cohorts
        return bare([{"cohort": cohort.date, "size": cohort.size, "values": cohort.values} for cohort in cohorts])

    async def _read(self, request: Request) -> tuple[Selection, Mapping[str, Any]]:
        key = await account_key(self._held, request)
        body = await json_of(request, _BODY_BYTES)
        if not isinstance(body, dict):
            raise Failure(400, "invalid request")
        with _invalid():
            for name in ("from", "to"):
                if body.get(name) in (None, ""):
                    raise InvalidQuestion(f"missing {name}")
            span = _span(body, now())
        project = await project_of(self._held, key, body.get("projectId"))
        return Selection(project.id, span), body


@contextmanager
def _invalid() -> Iterator[None]:
    """What cannot be asked is told with 400."""
    try:
        yield
    except (InvalidQuestion, InvalidWindow) as error:
        raise Failure(400, str(error)) from error


def _span(body: Mapping[str, Any], at: datetime) -> TimeRange:
    since, until = (_moment(body[name], name) for name in ("from", "to"))
    return parse_range(since, until, _UTC, at.astimezone(UTC), timedelta())


def _moment(value: Any, name: str) -> str:
    """ISO 8601 of a text or of unix milliseconds."""
    if isinstance(value, str):
        return value
    try:
        if isinstance(value, bool):
            raise ValueError(name)
        return format_millis(int(value))
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidQuestion(f"invalid {name}") from error


def _text(body: Mapping[str, Any], name: str, *, required: bool = False) -> str:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidQuestion(f"invalid {name}")
    if required and not value:
        raise InvalidQuestion(f"missing {name}")
    return value or ""


def _unit(body: Mapping[str, Any], allowed: tuple[Interval, ...]) -> Interval:
    text = _text(body, "unit") or "day"
    if text not in allowed:
        raise InvalidQuestion("invalid unit")
    return Interval(text)


def _named(body: Mapping[str, Any], name: str) -> Filter:
    event = _text(body, name)
    return equals("event", event) if event else EVERYTHING


def _filters(value: Any) -> Filter:
    if value is None:
        return EVERYTHING
    if not isinstance(value, list) or any(
        not isinstance(one, dict) or one.get("op") not in _OPERATORS for one in value
    ):
        raise InvalidQuestion("invalid filters")
    return AllOf(tuple(filter_of(one) for one in value))


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
