"""Logging in to Ovyxa's surface: a token for seven days."""

from starlette.requests import Request
from starlette.responses import Response

from api.auth.acting import log_in
from api.dialects.ovyxa.envelope import bare, invalid, missing
from api.dialects.requests import json_of
from api.dialects.surface import Failure
from api.errors import malformed
from api.services import Services
from schemas.instants import format_instant, to_millis
from schemas.projects import Dialect
from storage.errors import Refused

_BODY_BYTES = 16 * 1024


class Login:
    """The route below `/api/v1/auth`."""

    def __init__(self, held: Services) -> None:
        self._held = held

    async def login(self, request: Request) -> Response:
        """A token for an e-mail address and its password."""
        body = await json_of(request, _BODY_BYTES)
        if not isinstance(body, dict):
            raise malformed("The body must be a JSON object")
        for name in ("email", "password"):
            if not body.get(name):
                raise missing(name, "field")
            if not isinstance(body[name], str):
                raise invalid(name, "field")
        try:
            found = await log_in(self._held, request, body["email"], body["password"], Dialect.OVYXA)
        except Refused as error:
            raise Failure(401, "Invalid email or password") from error
        account = found.account
        name = " ".join(part for part in (account.first_name, account.last_name) if part) or account.email
        return bare(
            {
                "token": found.token,
                "user": {"id": account.user_id, "email": account.email, "name": name},
                "expires_at": format_instant(to_millis(found.login.expires_at)),
            }
        )
