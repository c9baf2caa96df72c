"""Random secrets and ids, and what is kept in place of a secret."""

import hashlib
import hmac
import secrets
import string
from base64 import b64decode
from dataclasses import dataclass
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from schemas.projects import Dialect

PREFIX_LENGTH: Final = 12

_HEX: Final = "0123456789abcdef"
_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase

# argon2id with 19 MB and two passes, OWASP's least: a login costs about 0.05 s of one core. Less is cheaper to guess;
# more memory is a lever for exhausting the server.
_PASSWORDS: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# What an unknown account is held against, so that it takes as long as a known one.
_NOBODY: Final = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


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


def new_flag_secret() -> str:
    """A fresh secret of local evaluation."""
    return f"cohf_{_random(_HEX, 64)}"


def new_id(kind: str) -> str:
    """A fresh public id: the kind, an underscore, 12 base-62 digits."""
    return f"{kind}_{_random(_BASE62, 12)}"


def key_digest(secret: str | bytes) -> bytes:
    """What is stored of a key; a plain hash is enough for 200 random bits and more."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret).digest()


def new_token() -> str:
    """A fresh secret for a link: 256 random bits."""
    return secrets.token_urlsafe(32)


def hash_password(password: str) -> str:
    """What is stored of a password, its parameters included."""
    return _PASSWORDS.hash(_encoded(password))


def password_matches(password: str, stored: str | None) -> bool:
    """Whether this is the password behind a stored hash; takes as long either way, and with no hash at all."""
    if stored is not None and stored.startswith("scrypt$"):  # of accounts made before argon2 was used
        _, cost, block, parallel, salt, digest = stored.split("$")
        sizes = {"n": 1 << int(cost), "r": int(block), "p": int(parallel)}
        return hmac.compare_digest(hashlib.scrypt(_encoded(password), salt=b64decode(salt), **sizes), b64decode(digest))
    try:
        return _PASSWORDS.verify(stored or _NOBODY, _encoded(password)) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


def _encoded(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))
