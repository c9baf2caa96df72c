"""`POST /api/v1/sql`: one SELECT of an analyst over the project's own rows."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from api.analytics.answering import Analytics
from api.analytics.bodies import text_in
from api.dependencies import Access, json_body, parameters, told
from schemas.projects import Key, Scope
from schemas.questions import InvalidQuestion
from storage.query.sandbox import ALWAYS, SqlQuestion

ARROW = "application/vnd.apache.arrow.stream"
# Longer ones are made by programs, and take long to parse.
_LONGEST = 100_000
_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=str)
_EXAMPLE = {"query": "SELECT event, count(*) AS n FROM visits GROUP BY ALL ORDER BY n DESC"}

_ANSWER = told(columns=["event", "n"], rows=[["signup", 84]], truncated=False, version=41)
# A cell is of any type.
_ANSWER[200]["content"]["application/json"]["schema"]["properties"]["rows"]["items"] = {"type": "array"}
_ANSWER[200]["content"][ARROW] = {"schema": {"type": "string", "contentEncoding": "binary"}}


def create_router(analytics: Analytics, access: Access) -> APIRouter:
    """The route; its path is below the prefix of the surface."""
    router = APIRouter(tags=["analysts"])

    async def holder(request: Request) -> Key:
        return await access.holder(request, Scope.SQL)

    @router.post("/sql", openapi_extra=_documented(), responses=_ANSWER)
    async def sql(request: Request, key: Annotated[Key, Depends(holder)]) -> Response:
        """Rows of one SELECT over `events`, `visits`, `sessions` and `rollups`, as JSON or as an Arrow stream."""
        body = await json_body(request)
        with parameters():
            statement = text_in(body, "query")
            if not statement:
                raise InvalidQuestion("Missing required field: query")
            if len(statement) > _LONGEST:
                raise InvalidQuestion(f"Invalid field: query, at most {_LONGEST} characters")
        project = await access.project(key, request)
        span = ALWAYS
        if "from" in body or "to" in body:
            span = (await access.asked_in(key, request, body)).span
        answer = await analytics.sql(SqlQuestion(project, statement, span))
        headers = {"Streamgauge-Version": str(answer.version), "Streamgauge-Truncated": str(answer.truncated).lower()}
        if ARROW in request.headers.get("accept", ""):
            return Response(answer.arrow(), media_type=ARROW, headers=headers)
        told: dict[str, Any] = {
            "columns": answer.table.column_names,
            "rows": answer.rows(),
            "truncated": answer.truncated,
            "version": answer.version,
        }
        return Response(_encoder.encode(told), media_type="application/json", headers=headers)

    return router


def _documented() -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}, "example": _EXAMPLE}}
    return {"requestBody": {"required": True, "content": content}}
