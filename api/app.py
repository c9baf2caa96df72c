"""The composition root of the API: settings in, an ASGI callable out."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from uuid import uuid4

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from api import openapi
from api.alerts.closing import Closing
from api.alerts.evaluator import Evaluator, Post
from api.alerts.measuring import Meter
from api.alerts.spikes import Spikes
from api.alerts.usage import Usage
from api.analytics.opening import open_analytics
from api.auth.keys import KeyResolver, ProjectFinder
from api.checking import check_every_minute
from api.connectors.catalogue import Catalogue
from api.connectors.syncer import Syncer
from api.dependencies import Access
from api.dialects.catalogue import dialects
from api.dialects.mount import Mounts
from api.erasing import erase_for_ever, eraser, forget_for_ever, forgetter
from api.errors import CODES, Problem, problem_body
from api.health import health_router, lake_check, metrics_page
from api.ingest.countries import Countries
from api.ingest.door import Door
from api.ingest.intake import Intake
from api.ingest.lane import Lane
from api.ingest.refusals import Refusals
from api.ingest.sender import Sender
from api.ingest.tally import Tally
from api.ingest.visitor import SaltStore
from api.limits.limiter import Limiter
from api.live.accepted import AcceptedEvents
from api.live.consumer import LiveFeed, LiveSource
from api.live.recent import RecentEvents
from api.live.view import LiveView, partitions_ready
from api.log.coalescer import Budget
from api.log.consumer import LogReader
from api.log.disk import is_embedded, watch_disk
from api.log.live import LiveReader
from api.log.producer import KafkaProducer, LogProducer
from api.log.reading import LogRecord
from api.mail import Mailer
from api.methods import allowed
from api.middleware import NATIVE_MOUNTS, HeadAsGet, NativeSurface
from api.routes import (
    activity,
    alerts,
    annotations,
    auth,
    boards,
    breakdowns,
    dashboards,
    downloads,
    events,
    exports,
    flags,
    funnels,
    goals,
    keys,
    lake,
    me,
    metrics,
    names,
    overview,
    people,
    profiles,
    projects,
    queries,
    segments,
    sessions,
    shares,
    sources,
    sql,
    status,
    streaming,
    team,
    usage,
    webhooks,
)
from api.routes.desk import Desk
from api.routes.kept import Keeping
from api.routes.queries import no_goals
from api.routes.realtime import RealtimeLane
from api.services import Services
from api.settings import ApiSettings
from api.webhooks.courier import Courier
from api.webhooks.dispatcher import Dispatcher
from storage.errors import StorageError
from storage.lake.erased import Erased
from storage.lake.place import place_at
from storage.meta.engine import open_metadata
from storage.meta.kept import KeptRepository
from storage.meta.keycache import KeyCache
from storage.meta.sealing import Sealer
from storage.meta.team import find_reachable
from storage.meta.tokens import Tokens, kept_secret
from storage.metrics import count
from storage.query.filters import refuse_bad_pattern
from storage.query.lake import MAX_AGE_SECONDS, Lake

logger = logging.getLogger(__name__)

_MESSAGES = {404: "Not found", 405: "Method not allowed"}

_KEPT = (goals, funnels, segments, alerts, webhooks, annotations, exports, dashboards, boards, sources, shares, flags)

_FLUSH_SECONDS = 1
# Of accepted events, before they are shown.
_GATHER_SECONDS = 0.1
# A first use shows at once; of each key there is a write a minute at most.
_STORE_USES_SECONDS = 5
_PURGE_SALTS_SECONDS = 3600


def assemble(
    settings: ApiSettings,
    producer: LogProducer | None = None,
    keys: KeyResolver | None = None,
    find_project: ProjectFinder | None = None,
    live_source: LiveSource | None = None,
) -> Services:
    """The services of a process; what is not handed in is made from the settings. Nothing is connected yet.

    Raises ValueError for settings that cannot work, CountriesUnreadable for a bad country file.
    """
    settings.directory.create()
    tokens = Tokens(_login_secret(settings))
    metadata = None
    if keys is None or find_project is None:
        metadata = open_metadata(settings.metadata_url, settings.directory.key_revision)
        metadata.quotas = settings.quotas
        keys = keys or KeyCache(metadata, tokens=tokens)
        find_project = find_project or partial(find_reachable, metadata)
    if producer is None:
        producer = KafkaProducer(
            settings.librdkafka(), settings.kafka_topic, settings.in_flight_bytes, settings.delivery_seconds
        )
        live_source = live_source or LiveReader(settings.librdkafka(), settings.kafka_live_topic)
    partitions = partial(_partitions, producer)
    live = LiveView(partitions)
    analytics = open_analytics(settings, live, partitions)
    tally = Tally()
    budget = Budget(settings.in_flight_events, settings.in_flight_bytes)
    door = Door(producer, budget, f"door-{uuid4().hex[:12]}", tally)
    refusals = Refusals(settings.directory.logs)
    salts = SaltStore(settings.directory.run)
    countries = Countries(settings.country_file) if settings.country_file is not None else None
    kept = None
    if metadata is not None:
        kept = KeptRepository(metadata, Sealer(_secret_keys(settings)), refuse_bad_pattern)
    return Services(
        settings=settings,
        metadata=metadata,
        producer=producer,
        door=door,
        intake=Intake(door, settings.event_limits, tally, refusals),
        keys=keys,
        find_project=find_project,
        salts=salts,
        countries=countries,
        sender=Sender(salts, countries, settings.trusted_proxies),
        tally=tally,
        refusals=refusals,
        live=live,
        accepted=AcceptedEvents(partial(_tail, settings)),
        analytics=analytics,
        tokens=tokens,
        limiter=Limiter(settings, settings.directory.limits),
        mailer=Mailer(settings.smtp_url, settings.mail_from),
        courier=Courier(allows_private=settings.webhook_allow_private),
        # Twice what the door keeps: it closes on everybody.
        catalogue=Catalogue(settings.directory.run, 2 * settings.min_free_bytes),
        kept=kept,
        live_source=live_source,
        recent=RecentEvents(analytics.newest),
    )


def create_app(settings: ApiSettings, services: Services | None = None) -> ASGIApp:
    """The whole API; its lifespan opens and closes the services."""
    held = services or assemble(settings)
    app = FastAPI(
        title="Streamgauge",
        version=version("streamgauge"),
        redirect_slashes=False,
        docs_url=None,  # FastAPI's own pages load their scripts from the internet
        redoc_url=None,
        lifespan=partial(_lifespan, held),
    )
    app.state.services = held
    app.include_router(health_router(held.readiness))
    if settings.metrics_port is None:
        app.add_route("/metrics", metrics_page, include_in_schema=False)
    for place, mount in enumerate(NATIVE_MOUNTS):
        for router in _native_routers(held):
            app.include_router(router, prefix=mount, include_in_schema=place == 0)
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Exception, _on_error)
    openapi.serve_page(app)
    openapi.complete(app)  # last: the framework makes the document anew when a route is added
    surfaces = Mounts(NativeSurface(app, settings.root_path), dialects(held), settings.root_path)
    inner = RealtimeLane(
        HeadAsGet(surfaces),
        held.live,
        held.recent,
        held.keys,
        held.find_project,
        held.stopping,
        settings.root_path,
        held.limiter,
    )
    return Lane(
        inner, held.door, held.keys, held.find_project, held.sender, held.tally, held.refusals, settings, held.limiter
    )


def _login_secret(settings: ApiSettings) -> bytes:
    if settings.login_secret is not None:
        return settings.login_secret.get_secret_value().encode()
    return kept_secret(settings.directory.login_secret)


def _secret_keys(settings: ApiSettings) -> list[bytes]:
    if settings.secret_key is not None:
        return [key.strip().encode() for key in settings.secret_key.get_secret_value().split(",")]
    return [kept_secret(settings.directory.secret_key)]


def _tail(settings: ApiSettings) -> Generator[list[LogRecord], None, None]:
    reader = LogReader(settings.librdkafka(), settings.kafka_topic)
    return reader.records(logger.warning, _GATHER_SECONDS)


def _partitions(producer: LogProducer) -> int:
    return producer.partitions


def _native_routers(held: Services) -> list[APIRouter]:
    """The routes of the native surface, which are mounted at each of its prefixes."""
    things = held.kept
    find_segment = things.segment_filter if things is not None else no_goals
    find_goal = things.goal_filter if things is not None else no_goals
    access = Access(held.keys, held.find_project, find_segment, held.limiter)
    if things is not None:
        access.find_goal = things.goal
    desk, keeping = Desk(held, access), Keeping(held, access)
    return [
        names.create_router(held.analytics, access),  # before the events, whose ids are any path
        downloads.create_router(held.analytics, access),
        streaming.create_router(access, held.accepted, held.stopping),
        events.create_router(held.analytics, access),
        metrics.create_router(held.analytics, access),
        overview.create_router(held.analytics, access),
        breakdowns.create_router(held.analytics, access),
        queries.create_router(held.analytics, access, find_goal),
        sessions.create_router(held.analytics, access),
        people.create_router(held.analytics, access),
        profiles.create_router(keeping),
        sql.create_router(held.analytics, access),
        lake.create_router(held.analytics, access),
        status.create_router(held),
        *(module.create_router(desk) for module in (auth, me, projects, keys, team, activity, usage)),
        *(module.create_router(keeping) for module in _KEPT),
    ]


@contextlib.asynccontextmanager
async def _lifespan(held: Services, _: FastAPI) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        if held.metadata is not None:
            stack.callback(held.metadata.close)
        if held.countries is not None:
            stack.callback(held.countries.close)
        stack.push_async_callback(asyncio.to_thread, held.analytics.close)
        stack.callback(held.refusals.close)
        stack.callback(held.limiter.close)
        stack.push_async_callback(held.accepted.stop)
        await held.producer.start()
        held.door.open()
        stack.push_async_callback(_drain, held)
        held.readiness.add(partial(_log_reasons, held))
        held.readiness.add(lake_check(place_at(held.settings.lake_place)))
        if held.live_source is not None:
            feed = LiveFeed(held.live, held.live_source)
            await feed.start()
            stack.push_async_callback(feed.stop)
            held.readiness.add(partial(_worker_reasons, held))
        for work in _background(held):
            stack.push_async_callback(_cancel, asyncio.create_task(work))
        yield
        held.begin_to_stop()


def _background(held: Services) -> list[Coroutine[None, None, None]]:
    """Everything that goes on beside the requests."""
    settings = held.settings
    work = [flush_often(held.tally), every(_PURGE_SALTS_SECONDS, lambda: held.salts.purge(datetime.now(UTC)))]
    if held.recent is not None:
        work.append(held.recent.run())
    if held.metadata is not None:
        work.append(check_every_minute(held.readiness, held.metadata))
    if held.kept is not None:
        work.append(erase_for_ever(held.kept, eraser(settings)))
        work.append(forget_for_ever(held.kept.metadata, forgetter(settings)))
    if held.kept is not None:
        work.append(Dispatcher(held.kept, held.courier).run())
        lake = Lake(place_at(settings.lake_place))
        erased = partial(_erased, lake)
        work.append(Syncer(held.kept, held.intake, held.catalogue, erased).run())
        tellers = (
            Closing(held.kept, held.analytics),
            Spikes(held.kept, held.analytics),
            Usage(held.kept, held.analytics),
        )
        slack = None if settings.slack_url is None else settings.slack_url.get_secret_value()
        post = Post(held.mailer, held.courier, slack)
        work.append(Evaluator(held.kept, Meter(held.kept, held.analytics), post, tellers).run())
    if isinstance(held.keys, KeyCache):
        work.append(every(_STORE_USES_SECONDS, held.keys.store_uses))
    if settings.min_free_bytes and is_embedded(settings.directory.broker_file, settings.kafka_bootstrap_servers):
        work.append(watch_disk(settings.directory.root, settings.min_free_bytes, held.door.set_disk_full))
    return work


def _erased(lake: Lake) -> Erased:
    return lake.reader("events").erased(MAX_AGE_SECONDS)


async def flush_often(tally: Tally) -> None:
    """Move the counts once a second, and a last time when cancelled."""
    try:
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            tally.flush()
    finally:
        tally.flush()


async def every(seconds: float, work: Callable[[], None]) -> None:
    """Do some blocking work in a thread now and again; what fails is logged and tried the next time."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await asyncio.to_thread(work)
        except (StorageError, OSError):
            logger.exception("background work failed")


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _drain(held: Services) -> None:
    held.door.close()
    held.unsent = await held.producer.stop(held.settings.delivery_seconds)
    if held.unsent:
        count("streamgauge_alarms_total", kind="records unsent at stop")
        logger.error("stopped before the log took everything", extra={"records": held.unsent})


async def _worker_reasons(held: Services) -> list[str]:
    return partitions_ready(held.live, time.time_ns() // 1_000_000)


async def _log_reasons(held: Services) -> list[str]:
    if (cause := held.door.refusal) is not None:
        return [f"log takes no events: {cause}"]
    wrong = await held.producer.probe()
    return [wrong] if wrong else []


async def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _answer(error.status, error.body, error.headers)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = CODES.get(error.status_code, "bad_request")
    named = dict(error.headers or {})
    if error.status_code == 405:
        named["Allow"] = ", ".join(allowed(request.app.routes, request.scope))
    headers = tuple((name.lower().encode(), value.encode()) for name, value in named.items())
    return _answer(error.status_code, problem_body(code, _MESSAGES.get(error.status_code, error.detail)), headers)


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _answer(400, problem_body("bad_request", _invalid_message(error)))


async def _on_error(_: Request, __: Exception) -> Response:
    return _answer(500, problem_body("internal_error", "Internal server error"))


def _invalid_message(error: RequestValidationError) -> str:
    first = error.errors()[0]
    place, *names = first["loc"]
    if first["type"] == "json_invalid":
        return "Malformed JSON"
    what = "parameter" if place in ("query", "path") else "field" if place == "body" else str(place)
    name = str(names[0]) if names else "body"
    return f"Missing required {what}: {name}" if first["type"] == "missing" else f"Invalid {what}: {name}"


def _answer(status: int, body: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Response:
    response = Response(body, status, media_type="application/json")
    response.raw_headers.extend(headers)
    return response
