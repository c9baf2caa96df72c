"""Secrets that are read again, only where they were sealed."""

import secrets

import pytest

from storage.errors import SecretUnreadable
from storage.meta.sealing import Sealer

OLD, NEW = secrets.token_hex(32).encode(), secrets.token_hex(32).encode()


def test_what_was_sealed_opens() -> None:
    sealer = Sealer([NEW])
    sealed = sealer.seal(b"whsec_1", 1, "wh_1")
    assert b"whsec_1" not in sealed
    assert sealer.open(sealed, 1, "wh_1") == b"whsec_1"
    assert sealer.seal(b"whsec_1", 1, "wh_1") != sealed


@pytest.mark.parametrize(("project", "thing"), [(2, "wh_1"), (1, "wh_2"), (11, "wh_1")])
def test_row_cannot_be_moved(project: int, thing: str) -> None:
    sealer = Sealer([NEW])
    with pytest.raises(SecretUnreadable, match="moved from another row"):
        sealer.open(sealer.seal(b"s", 1, "wh_1"), project, thing)


@pytest.mark.parametrize("place", [0, 1, 5, 17, -1])
def test_change_of_any_byte_is_seen(place: int) -> None:
    sealer = Sealer([NEW])
    sealed = bytearray(sealer.seal(b"secret", 1, "wh_1"))
    sealed[place] ^= 1
    with pytest.raises(SecretUnreadable):
        sealer.open(bytes(sealed), 1, "wh_1")


def test_cut_off_row_is_unreadable() -> None:
    sealer = Sealer([NEW])
    for length in (0, 3, 12, 20):
        with pytest.raises(SecretUnreadable):
            sealer.open(sealer.seal(b"secret", 1, "wh_1")[:length], 1, "wh_1")


def test_new_key_reads_what_the_old_one_sealed() -> None:
    sealed = Sealer([OLD]).seal(b"secret", 1, "src_1")
    both = Sealer([NEW, OLD])
    assert both.open(sealed, 1, "src_1") == b"secret"
    fresh = both.seal(b"secret", 1, "src_1")
    assert Sealer([NEW]).open(fresh, 1, "src_1") == b"secret"
    with pytest.raises(SecretUnreadable, match="STREAMGAUGE_SECRET_KEY"):
        Sealer([NEW]).open(sealed, 1, "src_1")


@pytest.mark.parametrize("keys", [[], [b"short"], [b"a" * 64], [NEW, b""]])
def test_key_that_could_be_guessed_is_refused(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="32 random characters"):
        Sealer(keys)
