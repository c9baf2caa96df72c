"""The limiter: numbers of the contract, overrides, what callers are told, and what happens without shared windows."""

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.errors import Problem
from api.limits.limiter import Limiter, Quota, subject_of
from api.settings import ApiSettings
from schemas.projects import Dialect, Key, Scope


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "limits"


@pytest.fixture
def limiter(path: Path) -> Iterator[Limiter]:
    limiter = made(path)
    yield limiter
    limiter.close()


def made(path: Path | None, **settings: Any) -> Limiter:
    return Limiter(ApiSettings(**settings), path)


def admitted(limiter: Limiter, quota: Quota, override: str | None = None, tries: int = 70_000) -> int | None:
    """How many requests of a fresh subject pass in a row; None if nothing limits them."""
    for number in range(tries):
        standing = limiter.take(quota, "someone", override)
        if standing is None:
            return None
        if not standing.is_admitted:
            return number
    raise AssertionError("never refused")


@pytest.mark.parametrize(
    ("quota", "most"),
    [
        (Quota.NATIVE, 600),
        (Quota.NATIVE_INGEST, 60_000),
        (Quota.REALTIME, 6000),
        (Quota.JETRACK, 600),
        (Quota.ZTA, 100),
        (Quota.ZTA_STATS_API, 100),
        (Quota.ZTA_TRACK, 1000),
        (Quota.COHORLY_INGEST, 100),
        (Quota.COHORLY, None),
        (Quota.OVYXA_FREE, 1000),
        (Quota.OVYXA_PRO, 5000),
        (Quota.OVYXA_ENTERPRISE, None),
        (Quota.LOGIN, 10),
    ],
)
def test_defaults_are_those_of_the_contract(limiter: Limiter, quota: Quota, most: int | None) -> None:
    assert admitted(limiter, quota) == most


def test_an_hour_is_counted_apart_from_a_minute(path: Path) -> None:
    limiter = made(path, limit_zta="3/1,4/3600")
    for _ in range(3):
        limiter.take(Quota.ZTA, "u")
    first = limiter.take(Quota.ZTA, "u")
    assert first is not None
    assert not first.is_admitted
    while not (later := limiter.take(Quota.ZTA, "u")) or not later.is_admitted:
        time.sleep(0.01)
    refused = limiter.take(Quota.ZTA, "u")
    assert refused is not None
    assert (refused.is_admitted, refused.limit) == (False, 4)
    assert 3500 < refused.retry_after <= 3600
    limiter.close()


def test_a_key_or_an_account_overrides(limiter: Limiter) -> None:
    assert admitted(limiter, Quota.NATIVE, "3/60") == 3
    assert limiter.take(Quota.NATIVE, "someone", "0") is None


def test_off_ends_all(path: Path) -> None:
    limiter = made(path, rate_limits=False)
    assert limiter.take(Quota.NATIVE, "a", "1/60") is None
    assert all(limiter.attempt("1.2.3.4", "a@b.example") is None for _ in range(20))
    limiter.succeeded("1.2.3.4", "a@b.example")
    limiter.give_back(Quota.NATIVE, "a")
    assert not path.exists()


def test_what_a_caller_is_told(path: Path) -> None:
    limiter = made(path, limit_native="2/60")
    first = limiter.admit(Quota.NATIVE, "a")
    assert first is not None
    told = dict(first.headers)
    assert (told[b"x-ratelimit-limit"], told[b"x-ratelimit-remaining"]) == (b"2", b"1")
    assert 58 < int(told[b"x-ratelimit-reset"]) - time.time() <= 61
    assert b"retry-after" not in told
    limiter.admit(Quota.NATIVE, "a")
    with pytest.raises(Problem) as refused:
        limiter.admit(Quota.NATIVE, "a")
    assert (refused.value.status, refused.value.code) == (429, "rate_limited")
    told = dict(refused.value.headers)
    assert told[b"x-ratelimit-remaining"] == b"0"
    assert 1 <= int(told[b"retry-after"]) <= 60
    limiter.give_back(Quota.NATIVE, "a")
    assert limiter.admit(Quota.NATIVE, "a") is not None
    limiter.close()


def test_two_processes_count_together(path: Path) -> None:
    one, other = made(path, limit_native="4/60"), made(path, limit_native="4/60")
    found = [limiter.take(Quota.NATIVE, "a") for limiter in (one, other) * 3]
    assert [standing is not None and standing.is_admitted for standing in found] == [True] * 4 + [False] * 2
    one.close()
    other.close()


def test_failed_logins_are_counted_by_address_and_email(limiter: Limiter) -> None:
    for _ in range(10):
        standing = limiter.attempt("1.2.3.4", "Ada@example.org ")
        assert standing is not None
        assert standing.is_admitted
    refused = limiter.attempt("1.2.3.4", "ada@example.org")
    assert refused is not None
    assert not refused.is_admitted
    for address, email in (("1.2.3.5", "ada@example.org"), ("1.2.3.4", "eve@example.org")):
        other = limiter.attempt(address, email)
        assert other is not None
        assert other.is_admitted
    limiter.succeeded("1.2.3.4", "ada@example.org")
    again = limiter.attempt("1.2.3.4", "ada@example.org")
    assert again is not None
    assert again.is_admitted


def test_without_shared_windows_the_door_stays_open_and_bounded_and_logins_close(path: Path) -> None:
    limiter = made(path, limit_native_ingest="5/60")
    limiter.take(Quota.NATIVE_INGEST, "a")
    holder = os.open(path, os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    assert admitted(limiter, Quota.NATIVE_INGEST) == 5
    with pytest.raises(Problem) as closed:
        limiter.attempt("1.2.3.4", "ada@example.org")
    assert closed.value.status == 503
    began = time.monotonic()
    for _ in range(200):
        limiter.take(Quota.NATIVE_INGEST, "a")
    assert time.monotonic() - began < 0.5, "who cannot be had is not waited for again and again"
    os.close(holder)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            assert limiter.attempt("1.2.3.4", "ada@example.org") is not None
            break
        except Problem:
            time.sleep(0.05)
    else:
        raise AssertionError("logins stayed closed")
    limiter.close()


def test_a_disk_that_takes_no_file_is_the_same(tmp_path: Path) -> None:
    limiter = made(tmp_path / "missing" / "limits", limit_native="2/60")
    assert admitted(limiter, Quota.NATIVE) == 2
    with pytest.raises(Problem):
        limiter.attempt(None, "ada@example.org")
    limiter.close()


def test_logins_count_for_their_account_and_keys_for_themselves() -> None:
    assert subject_of(Key("key_1", Dialect.JCHT, Scope.READ, 7, None)) == "key_1"
    login = Key("sess_1", Dialect.JCHT, Scope.ADMIN, 7, None, "login")
    assert subject_of(login) == "account 7"
