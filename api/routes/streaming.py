"""`GET /api/v1/events/stream`: accepted events as they come, as server-sent events."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.types import Receive, Send
from starlette.types import Scope as RequestScope

from api.dependencies import Access
from api.live.accepted import AcceptedEvents, Listener
from api.live.stream import HEADERS, event_frames, pour
from schemas.projects import Key

_STREAMED = """retry: 2000

data: {"eventId":"order-17","event":"signup","properties":{"plan":"pro"},"userId":"user-1",\
"timestamp":"2026-02-22T10:30:00Z","source":"api","sessionId":null,"context":null,\
"receivedAt":"2026-02-22T10:30:00.142Z","isBot":false}

event: sampled
data: {"shown":100,"leftOut":4310}

"""


class _Stream(Response):
    """Accepted events until the client goes."""

    def __init__(
        self, accepted: AcceptedEvents, listener: Listener, content: AsyncIterator[bytes], stopping: asyncio.Event
    ) -> None:
        super().__init__()
        self._accepted = accepted
        self._listener = listener
        self._content = content
        self._stopping = stopping

    async def __call__(self, scope: RequestScope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
            await pour(self._content, scope, receive, send, self._stopping, self._listener.is_over)
        finally:
            self._accepted.close(self._listener)


def create_router(access: Access, accepted: AcceptedEvents, stopping: asyncio.Event) -> APIRouter:
    """The route; its path is below the prefix of the surface."""
    router = APIRouter(tags=["events"])
    reader = Annotated[Key, Depends(access.reader)]

    @router.get(
        "/events/stream",
        response_class=Response,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}, "example": _STREAMED}}}},
    )
    async def stream_events(request: Request, key: reader) -> Response:
        """Accepted events as they come, as server-sent events; of more than 100 a second a part, and how many not."""
        project = await access.project(key, request)
        listener = await accepted.open(project)
        content = event_frames(listener, partial(access.still_reads, request), stopping)
        return _Stream(accepted, listener, content, stopping)

    return router
