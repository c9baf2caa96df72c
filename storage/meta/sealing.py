"""Secrets that must be read again: sealed with AES-GCM, each bound to the row it lies in."""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from storage.errors import SecretUnreadable

LEAST_SECRET_CHARACTERS: Final = 32

_VERSION: Final = b"\x01"
_NAME_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_HEADER_BYTES: Final = len(_VERSION) + _NAME_BYTES + _NONCE_BYTES


class Sealer:
    """Seals with the first of its keys and opens with any, so that a key can be replaced while old rows are read."""

    def __init__(self, masters: Sequence[bytes]) -> None:
        """Raises ValueError for a key that could be guessed, or for none."""
        if not masters or any(len(key) < LEAST_SECRET_CHARACTERS or len(set(key)) < 8 for key in masters):
            raise ValueError(
                f"STREAMGAUGE_SECRET_KEY needs {LEAST_SECRET_CHARACTERS} random characters or more, with commas between"
                " a new key and older ones; without it a key is made and kept in the data directory"
            )
        derived = [_derived(key) for key in masters]
        self._current = _name(derived[0])
        self._keys = {_name(key): AESGCM(key) for key in derived}

    def seal(self, secret: bytes, project_id: int, thing_id: str) -> bytes:
        """The secret as it is stored in the row of that thing, and opens nowhere else."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._keys[self._current].encrypt(nonce, secret, _bound(project_id, thing_id))
        return _VERSION + self._current + nonce + sealed

    def open(self, sealed: bytes, project_id: int, thing_id: str) -> bytes:
        """The secret; raises SecretUnreadable where its key is gone or the row is not the one it was sealed for."""
        name = sealed[1 : 1 + _NAME_BYTES]
        key = self._keys.get(name) if sealed[:1] == _VERSION else None
        if key is None:
            raise SecretUnreadable(
                "a stored secret was sealed with a key that is not among those of STREAMGAUGE_SECRET_KEY"
            )
        try:
            nonce = sealed[1 + _NAME_BYTES : _HEADER_BYTES]
            return key.decrypt(nonce, sealed[_HEADER_BYTES:], _bound(project_id, thing_id))
        except (InvalidTag, ValueError) as error:
            raise SecretUnreadable("a stored secret was changed, or moved from another row") from error


def _derived(master: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"streamgauge sealing 1").derive(master)


def _name(key: bytes) -> bytes:
    """Enough of a hash to tell keys apart, and nothing of the key."""
    return hashlib.sha256(b"name" + key).digest()[:_NAME_BYTES]


def _bound(project_id: int, thing_id: str) -> bytes:
    return _VERSION + f"|{project_id}|{thing_id}".encode()
