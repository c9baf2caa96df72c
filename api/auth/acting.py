"""What every surface does with people: metadata work off the loop, who acts, logins and forgotten passwords."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar

from starlette.requests import Request

from api.errors import OverQuota, bad_request, conflict, forbidden, limited, not_found, unavailable
from api.services import Services
from schemas.projects import Dialect, Key
from storage.errors import Conflict, NotFound, QuotaReached, Refused, Unavailable
from storage.meta.accounts import Account, check_password
from storage.meta.activities import Actor, mask_address
from storage.meta.logins import Login, open_login
from storage.meta.resets import begin_reset

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Somebody who proved who they are, and the only sight of their token."""

    account: Account
    login: Login
    token: str = field(repr=False)


async def blocking(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of metadata work, done in a thread.

    Raises Problem 503 where the database does not answer, OverQuota where the account's plan allows no more.
    """
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except QuotaReached as error:
        raise OverQuota(str(error)) from error
    except Unavailable as error:
        raise unavailable("The database does not answer now; send the request again") from error


async def change(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As `blocking`, and what the metadata refuses is the native surface's error: 400, 403, 404 or 409."""
    try:
        return await blocking(work, *args, **kwargs)
    except ValueError as error:
        raise bad_request(_sentence(error)) from error
    except Refused as error:
        raise forbidden(_sentence(error)) from error
    except NotFound as error:
        raise not_found() from error
    except Conflict as error:
        raise conflict(_sentence(error)) from error


def actor(held: Services, request: Request, key: Key | None = None) -> Actor:
    """Who changes something, for the log of changes."""
    masked = mask_address(held.sender.address(request.scope))
    agent = request.headers.get("user-agent", "")
    if key is None:
        return Actor(None, None, masked, agent)
    return Actor(key.account_id, key.id if key.kind == "key" else None, masked, agent)


async def log_in(held: Services, request: Request, email: str, password: str, surface: Dialect) -> LoggedIn:
    """A new login on a surface.

    Raises Refused for a wrong pair, Problem 429 after too many of them, Problem 503 while they cannot be counted.
    """
    address = held.sender.address(request.scope)
    count_attempt(held, address, email)
    account = await blocking(check_password, held.database, email, password)
    held.limiter.succeeded(address, email)
    by = replace(actor(held, request), account_id=account.id)
    login = await blocking(open_login, held.database, account.id, surface, by, datetime.now(UTC))
    return LoggedIn(account, login, held.tokens.issue(login, account.user_id))


def count_attempt(held: Services, address: str | None, subject: str) -> None:
    """Count an attempt of somebody who has proved nothing yet; raises Problem 429, 503."""
    standing = held.limiter.attempt(address, subject)
    if standing is not None and not standing.is_admitted:
        raise limited(standing.retry_after, standing.headers)


def mail_reset(held: Services, email: str, by: Actor) -> None:
    """Mail a link to set a new password, if the address has an account. Blocks; do it after the answer, which must
    not tell by its time whether there is one."""
    reset = begin_reset(held.database, email, by, datetime.now(UTC))
    if reset is not None:
        text = (
            "Somebody, hopefully you, asked to set a new password for your account at Streamgauge.\n\n"
            f"{held.settings.link('/reset-password')}?token={reset.secret}\n\n"
            "The link is good once and for an hour. If it was not you, nothing has changed.\n"
        )
        held.mailer.send(reset.account.email, "Set a new password", text)


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]
