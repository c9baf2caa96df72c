"""Logins and their tokens."""

import base64
import json
import multiprocessing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from schemas.projects import Dialect, Key, Scope
from storage.errors import NotFound
from storage.meta.accounts import account, set_terms
from storage.meta.activities import COMMAND_LINE, ActivityFilter, Actor, list_activities
from storage.meta.engine import Metadata
from storage.meta.keycache import KeyCache
from storage.meta.logins import end_login, end_logins, list_logins, login_key, open_login, touch_logins
from storage.meta.tokens import TokenOf, Tokens, kept_secret, looks_like_token
from tests.storage.meta.conftest import NOW, add_account

SECRET = b"0123456789abcdef0123456789abcdef"
BY = Actor(masked_address="10.0.*.*", agent="Firefox" * 100)


def test_login_holds_for_seven_days_on_its_surface(metadata: Metadata, account_id: int) -> None:
    login = open_login(metadata, account_id, Dialect.ZTA, BY, NOW)

    start = NOW.replace(microsecond=0)
    assert login.id.startswith("sess_")
    assert (login.created_at, login.expires_at) == (start, start + timedelta(days=7))
    assert (login.masked_address, len(login.agent)) == ("10.0.*.*", 255)
    key = Key(login.id, Dialect.ZTA, Scope.ADMIN, account_id, None, "login")
    last = login.expires_at - timedelta(microseconds=1)
    assert login_key(metadata, login.id, Dialect.ZTA, last) == (key, login.expires_at)
    assert login_key(metadata, login.id, Dialect.ZTA, login.expires_at) is None
    assert login_key(metadata, login.id, Dialect.OVYXA, NOW) is None
    assert login_key(metadata, "sess_000000000000", Dialect.ZTA, NOW) is None


def test_login_tells_plan_and_limit_of_its_account(metadata: Metadata, account_id: int) -> None:
    login = open_login(metadata, account_id, Dialect.OVYXA, BY, NOW)
    set_terms(metadata, account_id, "pro", "5/60")

    found = login_key(metadata, login.id, Dialect.OVYXA, NOW)
    assert found is not None
    assert (found[0].plan, found[0].rate_limit) == ("pro", "5/60")


def test_logins_end_one_by_one_or_all_but_one(metadata: Metadata, account_id: int) -> None:
    stranger = add_account(metadata, "other@example.org")
    foreign = open_login(metadata, stranger, Dialect.ZTA, BY, NOW)
    mine = [open_login(metadata, account_id, Dialect.ZTA, BY, NOW) for _ in range(4)]
    revision = metadata.key_revision.read()

    end_login(metadata, account_id, mine[0].id, BY, NOW)
    for gone in (mine[0].id, foreign.id, "sess_000000000000"):
        with pytest.raises(NotFound, match="no login has this id"):
            end_login(metadata, account_id, gone, BY, NOW)
    assert end_logins(metadata, account_id, BY, NOW, keep=mine[1].id) == 2
    assert end_logins(metadata, account_id, BY, NOW, keep=mine[1].id) == 0
    assert [login.id for login in list_logins(metadata, account_id, NOW)] == [mine[1].id]
    assert [login.id for login in list_logins(metadata, stranger, NOW)] == [foreign.id]
    assert metadata.key_revision.read() == revision + 2
    assert list_logins(metadata, account_id, NOW + timedelta(days=7)) == []
    told = list_activities(metadata, account_id, ActivityFilter(action="auth.logout"), limit=10)
    assert told.total == 3


def test_last_activity_moves_at_most_once_a_minute(metadata: Metadata, account_id: int) -> None:
    login = open_login(metadata, account_id, Dialect.JCHT, BY, NOW)
    start = login.created_at
    seen = []
    for seconds in (59, 60, 30):
        touch_logins(metadata, {login.id: start + timedelta(seconds=seconds)})
        seen.append(list_logins(metadata, account_id, NOW)[0].last_active_at)
    touch_logins(metadata, {})
    assert seen == [start, start + timedelta(seconds=60), start + timedelta(seconds=60)]


def test_cache_opens_tokens_and_closes_them_at_once(metadata: Metadata, account_id: int) -> None:
    tokens = Tokens(SECRET)
    login = open_login(metadata, account_id, Dialect.ZTA, BY, datetime.now(UTC))
    person = account(metadata, account_id)
    assert person is not None
    token = tokens.issue(login, person.user_id).encode()
    cache, other = KeyCache(metadata, tokens=tokens), KeyCache(metadata, tokens=tokens)
    without = KeyCache(metadata)

    expected = Key(login.id, Dialect.ZTA, Scope.ADMIN, account_id, None, "login")
    assert cache.peek(token) is None
    assert cache.resolve(token) == other.resolve(token.decode()) == expected
    assert cache.peek(token) == expected
    assert without.resolve(token) is None
    assert cache.resolve(token[:-2] + b"AA") is None
    end_login(metadata, account_id, login.id, COMMAND_LINE, datetime.now(UTC))
    assert (cache.peek(token), cache.resolve(token), other.resolve(token)) == (None, None, None)


def test_cache_stores_when_a_login_was_used(metadata: Metadata, account_id: int) -> None:
    tokens = Tokens(SECRET)
    before = datetime.now(UTC) - timedelta(minutes=5)
    login = open_login(metadata, account_id, Dialect.ZTA, BY, before)
    cache = KeyCache(metadata, tokens=tokens)
    cache.resolve(tokens.issue(login, "user_1"))
    cache.store_uses()

    [found] = list_logins(metadata, account_id, before)
    assert found.last_active_at > login.last_active_at


@pytest.fixture
def token(metadata: Metadata, account_id: int) -> str:
    return Tokens(SECRET).issue(open_login(metadata, account_id, Dialect.ZTA, BY, datetime.now(UTC)), "user_1")


def test_token_is_read_as_it_was_issued(token: str) -> None:
    told = Tokens(SECRET).read(token)
    assert told is not None
    assert told == TokenOf(told.login_id, Dialect.ZTA)
    assert looks_like_token(token.encode())
    assert not any(map(looks_like_token, (b"sg_a.b.c", b"ey", b"eya.b", b"")))


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "elsewhere"},
        {"aud": None},
        {"iss": "somebody"},
        {"exp": 1_000_000_000},
        {"nbf": 4_000_000_000},
        {"jti": 5},
        {"jti": None},
        {"sub": None},
        {"iat": None},
        {"nbf": None},
        {"exp": None},
        {"iss": None},
    ],
)
def test_token_that_says_otherwise_is_refused(token: str, change: dict[str, object]) -> None:
    claims = jwt.decode(token, options={"verify_signature": False}) | change
    signed = jwt.encode({name: value for name, value in claims.items() if value is not None}, SECRET, "HS256")
    assert Tokens(SECRET).read(signed) is None


def test_token_of_another_secret_or_algorithm_is_refused(token: str) -> None:
    claims = jwt.decode(token, options={"verify_signature": False})
    assert Tokens(SECRET[::-1]).read(token) is None
    assert Tokens(SECRET).read(jwt.encode(claims, SECRET * 2, "HS512")) is None
    head, body, _ = token.split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).rstrip(b"=").decode()
    for forged in (f"{none}.{body}.", f"{head}.{body}.", f"{head}..", "..", "", "é.é.é"):
        assert Tokens(SECRET).read(forged) is None


@pytest.mark.parametrize("secret", [b"", b"short", b"a" * 64, b"secret" * 5])
def test_secret_that_could_be_guessed_is_refused(secret: bytes) -> None:
    with pytest.raises(ValueError, match="32 random characters or more"):
        Tokens(secret)


def _ask(path: Path, found: "multiprocessing.Queue[bytes]") -> None:
    found.put(kept_secret(path))


def test_secret_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "login.key"
    context = multiprocessing.get_context("spawn")
    found: multiprocessing.Queue[bytes] = context.Queue()
    processes = [context.Process(target=_ask, args=(path, found)) for _ in range(4)]
    for process in processes:
        process.start()
    secrets = {found.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert secrets == {path.read_bytes()} == {kept_secret(path)}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["login.key"]
    Tokens(kept_secret(path))
