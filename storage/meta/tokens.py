"""Tokens of logins: signed, seven days, good on one surface, and nothing without their login in the database."""

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt

from schemas.projects import Dialect
from storage.meta.logins import Login

ISSUER: Final = "streamgauge"
LEAST_SECRET_BYTES: Final = 32

_ALGORITHM: Final = "HS256"
_CLAIMS: Final = ["iss", "sub", "aud", "iat", "nbf", "exp", "jti"]
_LEEWAY_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class TokenOf:
    """What a token says of itself: which login, on which surface."""

    login_id: str
    surface: Dialect


class Tokens:
    """Signs and reads tokens with one secret."""

    def __init__(self, secret: bytes) -> None:
        """Raises ValueError for a secret that could be guessed."""
        if len(secret) < LEAST_SECRET_BYTES or len(set(secret)) < 8:
            raise ValueError(
                f"the secret of the login tokens needs {LEAST_SECRET_BYTES} random characters or more;"
                " without STREAMGAUGE_LOGIN_SECRET one is made and kept in the data directory"
            )
        self._secret = secret

    def issue(self, login: Login, user_id: str) -> str:
        """The token of a login."""
        claims = {
            "iss": ISSUER,
            "sub": user_id,
            "aud": login.surface.value,
            "iat": login.created_at,
            "nbf": login.created_at,
            "exp": login.expires_at,
            "jti": login.id,
        }
        return jwt.encode(claims, self._secret, _ALGORITHM)

    def read(self, token: str | bytes) -> TokenOf | None:
        """What a token says, if we signed it and it has not expired; its login may have ended all the same."""
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                audience=[surface.value for surface in Dialect],
                issuer=ISSUER,
                leeway=_LEEWAY_SECONDS,
                options={"require": _CLAIMS},
            )
            return TokenOf(claims["jti"], Dialect(claims["aud"]))
        except (jwt.InvalidTokenError, ValueError):
            return None


def looks_like_token(secret: bytes) -> bool:
    """Whether this may be a token: three parts, and no key begins so."""
    return secret.startswith(b"ey") and secret.count(b".") == 2


def kept_secret(path: Path) -> bytes:
    """The secret in a file, made at the first call; several processes may ask at once."""
    with suppress(FileNotFoundError):
        return path.read_bytes()
    # Written whole under a name of its own and then linked, so that nobody reads half of it.
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(file, "wb") as opened:
            opened.write(secrets.token_hex(LEAST_SECRET_BYTES).encode())
            opened.flush()
            os.fsync(opened.fileno())
        with suppress(FileExistsError):  # another process was first: its secret is the one
            os.link(fresh, path)
    finally:
        fresh.unlink()
    return path.read_bytes()
