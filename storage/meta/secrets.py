"""Random secrets and ids, and what is kept in place of a secret."""

import hashlib
import hmac
import secrets
import string
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Final

from schemas.projects import Dialect

PREFIX_LENGTH: Final = 12

_HEX: Final = "0123456789abcdef"
_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase

# OWASP's figures for scrypt in 16 MB: a login costs about 0.2 s of one core. Less is cheaper to guess, more memory is
# a lever for exhausting the server.
_COST: Final = 14
_BLOCK: Final = 8
_PARALLEL: Final = 5


@dataclass(frozen=True, slots=True)
class KeyFormat:
    """How the secrets of one dialect look."""

    start: str
    alphabet: str
    length: int


KEY_FORMATS: Final[dict[Dialect, KeyFormat]] = {
    Dialect.JCHT: KeyFormat("sg_", _HEX, 64),
    Dialect.JETRACK: KeyFormat("bj_live_", _HEX, 64),
    Dialect.ZTA: KeyFormat("zta_live_", _BASE62, 36),
    Dialect.COHORLY: KeyFormat("coh_", _HEX, 64),
    Dialect.OVYXA: KeyFormat("ovx_", _HEX, 64),
}


def new_secret(dialect: Dialect) -> str:
    """A fresh key in the dialect's format."""
    form = KEY_FORMATS[dialect]
    return form.start + _random(form.alphabet, form.length)


def new_id(kind: str) -> str:
    """A fresh public id: the kind, an underscore, 12 base-62 digits."""
    return f"{kind}_{_random(_BASE62, 12)}"


def key_digest(secret: str | bytes) -> bytes:
    """What is stored of a key; a plain hash is enough for 200 random bits and more."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret).digest()


def hash_password(password: str) -> str:
    """What is stored of a password, its parameters included."""
    salt = secrets.token_bytes(16)
    digest = _scrypt(password, salt, _COST, _BLOCK, _PARALLEL)
    return f"scrypt${_COST}${_BLOCK}${_PARALLEL}${b64encode(salt).decode()}${b64encode(digest).decode()}"


def password_matches(password: str, stored: str) -> bool:
    """Whether this is the password behind a stored hash; takes as long either way."""
    _, cost, block, parallel, salt, digest = stored.split("$")
    found = _scrypt(password, b64decode(salt), int(cost), int(block), int(parallel))
    return hmac.compare_digest(found, b64decode(digest))


def _scrypt(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=1 << cost, r=block, p=parallel)


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))
