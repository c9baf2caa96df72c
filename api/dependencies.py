"""What routes of the native surface need of a request: its key, its project, and errors in our form."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import msgspec
from fastapi import Request, Response

from api.auth.keys import KeyResolver, ProjectFinder, authenticate, credential, demand, project_of
from api.errors import bad_request
from schemas.instants import format_instant
from schemas.projects import Key, Scope
from schemas.questions import InvalidQuestion
from schemas.windows import InvalidWindow

# Asked for by contract, answered by later versions: to ignore them would be a wrong number.
_NOT_YET = ("filters", "segmentId", "compare", "asOf")


class Access:
    """Who asks, and about which project; raises Problem."""

    def __init__(self, keys: KeyResolver, projects: ProjectFinder) -> None:
        self._keys = keys
        self._projects = projects

    async def reader(self, request: Request) -> Key:
        """The key of a request that reads."""
        key = await authenticate(self._keys, credential(dict(request.scope["headers"])))
        demand(key, Scope.READ)
        return key

    async def project(self, key: Key, request: Request) -> int:
        """The project a request is about: the key's own, or the one it names."""
        return await project_of(key, request.query_params.get("projectId"), self._projects)


@contextmanager
def parameters(request: Request) -> Iterator[None]:
    """Around the reading of parameters: what is wrong with them is the caller's, 400."""
    for name in _NOT_YET:
        if name in request.query_params:
            raise bad_request(f"Invalid parameter: {name} is not supported yet")
    try:
        yield
    except (InvalidQuestion, InvalidWindow) as error:
        raise bad_request(str(error)) from error


def json_answer(request: Request, body: object, headers: Mapping[str, str]) -> Response:
    """A body with its ETag, or 304 where the caller holds the same."""
    content = msgspec.json.encode(body)
    tag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
    named = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "X-API-Key, Authorization", **headers}
    held = request.headers.get("if-none-match", "")
    if held.strip() == "*" or tag in (part.strip().removeprefix("W/") for part in held.split(",")):
        return Response(status_code=304, headers=named)
    return Response(content, media_type="application/json", headers=named)


def made(accuracy: str, timezone: str, watermark: int) -> dict[str, str]:
    """The headers that say how a number was made."""
    return {
        "Streamgauge-Accuracy": accuracy,
        "Streamgauge-Timezone": timezone,
        "Streamgauge-Watermark": format_instant(watermark),
    }
