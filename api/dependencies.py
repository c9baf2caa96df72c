"""What routes of the native surface need of a request: its key, its project, its question, and errors in our form."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Protocol, TypeAlias

import msgspec
from fastapi import Depends, Query, Request, Response

from api.analytics.answering import Answered
from api.analytics.asking import DEFAULT_RANGE, Asked, Common, SegmentFinder, meta, read_common
from api.auth.keys import (
    KeyResolver,
    ProjectFinder,
    authenticate,
    credential,
    demand,
    is_same_origin,
    project_of,
    reach,
    session,
    still_reads,
)
from api.errors import bad_request, forbidden, malformed, too_large, unavailable
from api.limits.limiter import Limiter, Quota, subject_of
from api.middleware import FURTHER_HEADERS, ON_UNCHANGED
from api.shapes import content
from schemas.answers import EXACT, Accuracy
from schemas.conversions import goal_question
from schemas.filters import both
from schemas.goals import GoalQuestion
from schemas.instants import format_instant
from schemas.kept import Goal
from schemas.projects import Key, Project, Role, Scope
from schemas.questions import InvalidQuestion
from schemas.selection import Selection
from schemas.windows import Bucket, InvalidWindow, whole_second_after
from storage.errors import Unavailable

# No question is longer: a hundred conditions with long values.
_QUESTION_BYTES = 1024 * 1024
Text: TypeAlias = Annotated[str | None, Query()]
# A goal of a project; may block.
GoalFinder: TypeAlias = Callable[[int, str], Goal | None]
Reading: TypeAlias = Callable[..., Awaitable[Asked]]


class Access:
    """Who asks, and about which project; raises Problem."""

    def __init__(
        self,
        keys: KeyResolver,
        projects: ProjectFinder,
        find_segment: SegmentFinder = lambda _project, _id: None,
        limiter: Limiter | None = None,
    ) -> None:
        self._keys = keys
        self._projects = projects
        self._find_segment = find_segment
        self._limiter = limiter
        self.find_goal: GoalFinder = lambda _project, _id: None

    async def reader(self, request: Request) -> Key:
        """The key of a request that reads."""
        return await self.holder(request, Scope.READ)

    async def holder(self, request: Request, scope: Scope) -> Key:
        """The key of a request that does what needs the scope."""
        key = await self.caller(request)
        demand(key, scope)
        return key

    async def caller(self, request: Request) -> Key:
        """Who asks, within the limit of the surface; whether they may is another question.

        A login's cookie is good as well, but no page of another origin may change something with it.
        """
        headers = dict(request.scope["headers"])
        secret = credential(headers)
        if secret is None:
            secret = session(headers)
            if secret is not None and not (request.method in ("GET", "HEAD") or is_same_origin(headers)):
                raise forbidden("Pages of another origin may not do this")
        key = await authenticate(self._keys, secret)
        if self._limiter is not None:
            count_native(self._limiter, key, request)
        return key

    async def still_reads(self, request: Request) -> bool:
        """Whether a request whose answer does not end may still read."""
        return await still_reads(self._keys, dict(request.scope["headers"]))

    async def project(self, key: Key, request: Request) -> int:
        """The project a request is about: the key's own, or the one it names."""
        return await project_of(key, request.query_params.get("projectId"), self._projects)

    async def reach(self, key: Key, reference: str, role: Role) -> Project:
        """The project that a path names, where the caller has the role; raises Problem 403, 404."""
        return await reach(key, reference, self._projects, role)

    async def asked(self, key: Key, request: Request, common: Common) -> Asked:
        """The common parameters about the request's project, with the segment they name."""
        project = await self.project(key, request)
        filters = common.filters
        if common.segment_id is not None:
            try:
                segment = await asyncio.to_thread(self._find_segment, project, common.segment_id)
            except Unavailable as error:
                raise unavailable(f"The segment cannot be read now: {error}") from error
            if segment is None:
                raise bad_request("Invalid parameter: segmentId")
            filters = both(filters, segment)
        return Asked(Selection(project, common.span, filters, common.includes_bots), replace(common, filters=filters))

    async def goal(
        self, asked: Asked, goal_id: str, buckets: tuple[Bucket, ...] = (), dimension: str | None = None, top: int = 10
    ) -> GoalQuestion:
        """How often a goal was reached by those a question is about; raises Problem 400 or 503."""
        try:
            goal = await asyncio.to_thread(self.find_goal, asked.project, goal_id)
        except Unavailable as error:
            raise unavailable(f"The goal cannot be read now: {error}") from error
        if goal is None:
            raise bad_request("Invalid parameter: goalId")
        return replace(goal_question(goal, asked.selection, buckets), dimension=dimension, top=top)

    def reading(self, default: timedelta = DEFAULT_RANGE, *, compares: bool = False) -> Reading:
        """The dependency of a route that takes the common parameters in its query, `compare` where it `compares`."""

        async def read(
            request: Request,
            key: Annotated[Key, Depends(self.reader)],
            from_: Annotated[str | None, Query(alias="from", description="ISO 8601, or a date.")] = None,
            to: Annotated[str | None, Query(description="ISO 8601, or a date, whose day is included.")] = None,
            timezone: Annotated[str, Query(description="IANA name.")] = "UTC",
            filters: Annotated[str | None, Query(description="JSON array of {key, op, value}.")] = None,
            segment_id: Annotated[str | None, Query(alias="segmentId")] = None,
            include_bots: Annotated[str | None, Query(alias="includeBots")] = None,
            compare: Annotated[str | None, Query(description="previous_period or previous_year.")] = None,
            exact: Annotated[str | None, Query(description="true: no sketches.")] = None,
            as_of: Annotated[str | None, Query(alias="asOf", description="A version of the lake, or a time.")] = None,
        ) -> Asked:
            values = {
                "from": from_,
                "to": to,
                "timezone": timezone,
                "filters": filters,
                "segmentId": segment_id,
                "includeBots": include_bots,
                "compare": compare,
                "exact": exact,
                "asOf": as_of,
            }
            with parameters():
                common = read_common(values, _now(), default)
                if common.comparison is not None and not compares:
                    raise InvalidQuestion("Invalid parameter: compare, ask for the earlier time")
            return await self.asked(key, request, common)

        return read

    async def asked_in(self, key: Key, request: Request, body: Mapping[str, Any]) -> Asked:
        """The same of a question that came as a body."""
        with parameters():
            common = read_common(body, _now())
        return await self.asked(key, request, common)


def count_native(limiter: Limiter, key: Key, request: Request) -> None:
    """Count a request of the native surface, and let its answer tell where the key stands; raises Problem 429.

    Who polls with an ETag has the limit of live figures, and the other one only for what did change.
    """
    subject = subject_of(key)
    if "if-none-match" in request.headers:
        limiter.admit(Quota.REALTIME, subject, key.rate_limit)
        request.scope[ON_UNCHANGED] = partial(limiter.give_back, Quota.NATIVE, subject)
    standing = limiter.admit(Quota.NATIVE, subject, key.rate_limit)
    if standing is not None:
        request.scope.get(FURTHER_HEADERS, []).extend(standing.headers)


@contextmanager
def parameters() -> Iterator[None]:
    """Around the reading of parameters: what is wrong with them is the caller's, 400."""
    try:
        yield
    except (InvalidQuestion, InvalidWindow) as error:
        raise bad_request(str(error)) from error


async def json_body(request: Request) -> dict[str, Any]:
    """The object that a question came as; raises Problem 400 or 413."""
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > _QUESTION_BYTES:
            raise too_large(f"Question too large: at most {_QUESTION_BYTES} bytes")
    try:
        body = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise malformed() from error
    if not isinstance(body, dict):
        raise malformed("The body must be a JSON object")
    return body


def answer(
    request: Request,
    asked: Asked,
    answered: Answered[Any],
    body: Mapping[str, Any],
    accuracy: Accuracy = EXACT,
    *,
    bots: int | None = None,
    more: dict[str, Any] | None = None,
) -> Response:
    """A body with its `meta`; its ETag stays while only the watermark moves."""
    made_how = meta(asked, answered, accuracy, bots) | (more or {})
    content = msgspec.json.encode(body)
    still = made_how | {"watermark": None}
    return _tagged(
        request,
        content[:-1] + b',"meta":' + msgspec.json.encode(made_how) + b"}",
        made(str(accuracy), asked.common.timezone, answered.watermark),
        f'W/"{_hash(content + msgspec.json.encode(still))}"',
    )


def told(*, nullable: Collection[str] = (), **example: Any) -> dict[int | str, dict[str, Any]]:
    """What a route answers, for the document: one example; `nullable` names fields of it."""
    return {200: {"description": "OK", **content(example, nullable=nullable)}}


META_EXAMPLE = {
    "from": "2026-02-15T00:00:00Z",
    "to": "2026-02-23T00:00:00Z",
    "timezone": "UTC",
    "accuracy": {"method": "exact", "error": 0.0},
    "watermark": "2026-02-22T10:30:00.142Z",
    "version": 41,
    "source": "rows",
    "botsExcluded": 12,
}
EVENT_EXAMPLE: dict[str, Any] = {
    "eventId": "evt_a8Kx92mNqP3f",
    "event": "signup",
    "properties": {},
    "userId": "user-1",
    "timestamp": "2026-02-22T10:30:00Z",
    "source": "api",
}
# Of answers that do not count bots.
META_OF_ROWS = {name: value for name, value in META_EXAMPLE.items() if name != "botsExcluded"}


class Pointer(Protocol):
    """Where a page ended."""

    def encode(self) -> str:
        """Opaque text for the caller."""


def page(total: int, limit: int, following: Pointer | None) -> dict[str, Any]:
    """What `meta` says of a page of a list."""
    return {
        "total": total,
        "limit": limit,
        "hasMore": following is not None,
        "nextCursor": None if following is None else following.encode(),
    }


def json_answer(request: Request, body: object, headers: Mapping[str, str]) -> Response:
    """A body with its ETag, or 304 where the caller holds the same."""
    content = msgspec.json.encode(body)
    return _tagged(request, content, headers, f'"{_hash(content)}"')


def made(accuracy: str, timezone: str, watermark: int) -> dict[str, str]:
    """The headers that say how a number was made."""
    return {
        "Streamgauge-Accuracy": accuracy,
        "Streamgauge-Timezone": timezone,
        "Streamgauge-Watermark": format_instant(watermark),
    }


def _tagged(request: Request, content: bytes, headers: Mapping[str, str], tag: str) -> Response:
    named = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "X-API-Key, Authorization", **headers}
    held = request.headers.get("if-none-match", "")
    weak = tag.removeprefix("W/")
    if held.strip() == "*" or weak in (part.strip().removeprefix("W/") for part in held.split(",")):
        return Response(status_code=304, headers=named)
    return Response(content, media_type="application/json", headers=named)


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=12).hexdigest()


def _now() -> datetime:
    return whole_second_after(datetime.now(UTC))
