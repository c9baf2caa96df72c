"""`/shares` of the native surface: links that show a project's figures to whoever has one."""

import asyncio
from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from msgspec import to_builtins

from api.auth.acting import count_attempt
from api.dependencies import Text, json_answer, made, parameters
from api.errors import forbidden, not_found
from api.limits.limiter import Quota
from api.routes.kept import Change, Crud, Keeping, Resource, add_route, add_routes, answered, shown, stored
from api.routes.overview import FIGURES
from api.shapes import content
from schemas.figures import OverviewQuestion
from schemas.keeping import body_of
from schemas.kept import Share
from schemas.periods import period_range
from schemas.projects import Scope
from schemas.selection import Selection
from schemas.windows import Interval, buckets, whole_second_after, zone_named
from storage.meta.kept import Kept, KeptRepository
from storage.meta.projects import project
from storage.meta.secrets import new_token

PATH = "/shares"
_DEFAULT_PERIOD = "7d"


def find_share(things: KeptRepository, token: str, now: datetime) -> Kept[Share] | None:
    """The share a link leads to, unless it has expired. Blocks."""
    found = things.find_linked(Share, token)
    if found is None or (found.body.expires_at is not None and found.body.expires_at <= now):
        return None
    return found


def create_router(keeping: Keeping) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["shares"])
    example = {"periods": ["7d", "30d"], "expiresAt": "2027-01-01T00:00:00Z"}
    resource = Resource(Share, PATH, example, scope=Scope.ADMIN)
    crud = Crud(keeping, resource)
    add_routes(router, crud, without=frozenset({f"POST {PATH}"}))

    async def create(request: Request) -> Response:
        share, token = await stored(_create, keeping, await crud.change_of(request))
        return answered(shown(share) | {"token": token}, 201)

    async def overview(request: Request, token: str, period: Text = None) -> Response:
        now = whole_second_after(datetime.now(UTC))
        if keeping.held.kept is None:
            raise not_found()
        share = await stored(find_share, keeping.things, token, now)
        tenant = None if share is None else await stored(project, keeping.things.metadata, share.project_id)
        if share is None or tenant is None:
            count_attempt(keeping.held, keeping.held.sender.address(request.scope), "share")
            raise not_found()
        keeping.held.limiter.admit(Quota.NATIVE, f"share {share.id}")
        wanted = period or (_DEFAULT_PERIOD if _DEFAULT_PERIOD in share.body.periods else share.body.periods[0])
        with parameters():
            zone = zone_named(tenant.timezone)
            span = period_range(wanted, zone, now)
            if wanted not in share.body.periods:
                raise forbidden("Period not allowed for this share")
            interval = Interval.HOUR if wanted.endswith("h") else Interval.DAY
            points = tuple(await asyncio.to_thread(buckets, span, interval, zone))
        question = OverviewQuestion(Selection(tenant.id, span), points)
        found = await keeping.held.analytics.ask(question)
        body = {
            "project": {"name": tenant.name, "domain": tenant.domain},
            "period": wanted,
            "periods": share.body.periods,
            "metrics": found.answer.total,
            "timeseries": [
                {"date": point.label} | to_builtins(figures)
                for point, figures in zip(points, found.answer.series, strict=True)
            ],
        }
        return json_answer(request, body, made(str(found.answer.accuracy), tenant.timezone, found.watermark))

    linked = resource.told({"token": "3q2-7wAbCdEf"})
    said = "Make a link; its token is shown this once."
    add_route(router, "POST", PATH, create, said, example, takes=resource.taken, tells=linked)
    shown_by_it = {
        "project": {"name": "Shop", "domain": "shop.example.org"},
        "period": "7d",
        "periods": ["7d", "30d"],
        "metrics": FIGURES,
        "timeseries": [{"date": "2026-02-15", **FIGURES}],
    }
    tells, path = content(shown_by_it, nullable={"domain"}), f"{PATH}/{{token}}/overview"
    said = "The figures that a link shows."
    add_route(router, "GET", path, overview, said, tells=tells, errors=(403, 404), is_open=True)
    return router


def _create(keeping: Keeping, change: Change) -> tuple[Kept[Share], str]:
    token = new_token()
    body = body_of(Share, change.body)
    return keeping.things.create(change.project, body, change.by, change.now, link=token), token
