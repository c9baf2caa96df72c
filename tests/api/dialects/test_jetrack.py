"""Jetrack's surface as its clients see it, at the root and under its own prefix."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest

from schemas.rows import Row, WebFields
from storage.meta.keys import regenerate_key, revoke_key
from tests.api.dialects.world import World, serving
from tests.factories import event_row

MOUNTS = ["", "/compat/jetrack"]
RANGE = {"from": "2025-01-01", "to": "2025-01-31"}


def _view(project: int, at: str, person: str, path: str = "/", *, is_bot: bool = False, event: str = "pageview") -> Row:
    row = event_row(at, person, event, project=project)
    web = WebFields(path=path, referrer_domain="x.org", country="DE", device="mobile", is_bot=is_bot)
    return msgspec.structs.replace(row, web=web)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("jetrack")) as found:
        project = found.project.id
        found.append(
            [
                _view(project, "2025-01-01T00:00:00", "a"),
                _view(project, "2025-01-01T00:00:10", "a", "/b"),
                _view(project, "2025-01-31T23:59:59", "b"),
                _view(project, "2025-01-31T23:00:00", "robot", is_bot=True),
                _view(project, "2024-12-31T23:59:59", "c"),
                _view(project, "2025-02-01T00:00:00", "d"),
                _view(project, "2025-01-05T00:00:00", "e", event="click"),
            ]
        )
        yield found


def _get(world: World, path: str, mount: str = "", key: str | None = None, **params: str) -> httpx.Response:
    headers = {"X-API-Key": world.secret("jetrack") if key is None else key}
    return world.client.get(f"{mount}/api/v1{path}", params=params, headers=headers)


def _data(answer: httpx.Response) -> Any:
    body = answer.json()
    assert (answer.status_code, body["success"], body["meta"]) == (200, True, {"status": 200})
    return body["data"]


def _error(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert (body["success"], body["data"], body["meta"]["status"]) == (False, None, answer.status_code)
    return answer.status_code, body["meta"]["message"]


def test_a_key_has_its_documented_form(world: World) -> None:
    assert re.fullmatch(r"bj_live_[0-9a-f]{64}", world.secret("jetrack"))


@pytest.mark.parametrize("mount", MOUNTS)
def test_both_headers_are_equal_and_none_is_refused(world: World, mount: str) -> None:
    named = _get(world, "/account", mount)
    bearer = {"Authorization": f"Bearer {world.secret('jetrack')}"}
    assert world.client.get(f"{mount}/api/v1/account", headers=bearer).content == named.content
    assert _error(world.client.get(f"{mount}/api/v1/account")) == (401, "Invalid or missing API key")
    for wrong in ("bj_live_" + 64 * "0", world.secret("jcht"), world.secret("cohorly"), "x"):
        assert _error(_get(world, "/account", mount, wrong)) == (401, "Invalid or missing API key")


def test_the_account(world: World) -> None:
    found = _data(_get(world, "/account"))
    assert found["email"] == "ann@example.org"
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", found["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["createdAt"])
    assert found.keys() == {"id", "email", "firstName", "lastName", "picture", "emailVerifiedAt", "createdAt"}


def test_subscription_and_usage(world: World) -> None:
    plan = _data(_get(world, "/account/subscription"))
    assert (plan["plan"], plan["status"]) == ("free", "active")
    usage = _data(_get(world, "/account/usage"))
    assert usage["pageviews"]["percentage"] == 0
    assert usage["currentPeriod"] == {"start": plan["currentPeriodStart"], "end": plan["currentPeriodEnd"]}


@pytest.mark.parametrize("mount", MOUNTS)
def test_websites_and_their_statistics(world: World, mount: str) -> None:
    [website] = _data(_get(world, "/websites", mount))
    assert website.keys() == {"id", "name", "domain", "createdAt"}
    assert website["id"] == world.project.website_id
    assert _data(_get(world, f"/websites/{website['id']}", mount)) == website
    main = _data(_get(world, f"/websites/{website['id']}/stats/main", mount, **RANGE))
    assert main == {"uniqueVisitors": 3, "totalPageviews": 3, "avgSessionDuration": 3, "bounceRate": 33.3}


def test_lists_and_series(world: World) -> None:
    base = f"/websites/{world.project.website_id}/stats"
    series = _data(_get(world, f"{base}/timeseries", **RANGE))
    assert len(series) == 31
    assert series[0] == {"date": "2025-01-01", "uniqueVisitors": 1, "totalPageviews": 2}
    assert _data(_get(world, f"{base}/pages", **RANGE)) == [
        {"name": "/", "visitors": 2, "pageviews": 2},
        {"name": "/b", "visitors": 1, "pageviews": 1},
    ]
    assert _data(_get(world, f"{base}/pages", limit="1", **RANGE))[0]["name"] == "/"
    for name in ("referrers", "countries", "devices", "browsers", "os", "utm", "events"):
        assert isinstance(_data(_get(world, f"{base}/{name}", **RANGE)), list)
    assert _data(_get(world, f"{base}/realtime")) == {"activeVisitors": 0}
    assert _error(_get(world, f"{base}/nothing", **RANGE)) == (404, "Not found")


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize(
    ("params", "errors"),
    [
        ({"from": "2025-1-1"}, ["from must be YYYY-MM-DD"]),
        ({"from": "20250101", "to": "x"}, ["to must be YYYY-MM-DD", "from must be YYYY-MM-DD"]),
        ({"from": "2025-02-01", "to": "2025-01-31"}, ["from must not be after to"]),
    ],
)
def test_bad_dates_are_told(world: World, params: dict[str, str], errors: list[str], mount: str) -> None:
    answer = _get(world, f"/websites/{world.project.website_id}/stats/main", mount, **params)
    assert _error(answer) == (400, "Invalid request")
    assert answer.json()["meta"]["errors"] == errors


def test_no_dates_mean_the_last_thirty_days(world: World) -> None:
    now = datetime.now(UTC)
    recent = [
        event_row(now - timedelta(days=days), f"p{days}", "pageview", project=world.project.id) for days in (1, 28)
    ]
    world.append([*recent, event_row(now - timedelta(days=31), "old", "pageview", project=world.project.id)])
    main = _data(_get(world, f"/websites/{world.project.website_id}/stats/main"))
    assert main["totalPageviews"] == 2


@pytest.mark.parametrize("mount", MOUNTS)
def test_websites_of_others_and_of_nobody(world: World, mount: str) -> None:
    other = world.another("eve@example.org", "Other", "other.example")
    for path in ("", "/stats/main", "/stats/pages", "/stats/realtime"):
        answer = _get(world, f"/websites/{other.project.website_id}{path}", mount)
        assert _error(answer) == (403, "You do not have access to this resource")
        assert _error(_get(world, f"/websites/nobody{path}", mount)) == (404, "Not found")


@pytest.mark.parametrize("mount", MOUNTS)
def test_unknown_paths_and_methods(world: World, mount: str) -> None:
    assert _error(_get(world, "/account/nothing", mount)) == (404, "Not found")
    answer = world.client.post(f"{mount}/api/v1/websites", headers={"X-API-Key": world.secret("jetrack")})
    assert _error(answer) == (405, "Method not allowed")
    assert "access-control-allow-origin" not in answer.headers


def test_an_old_key_dies_at_once(world: World) -> None:
    other = world.another("kim@example.org", "Kim", "kim.example")
    database, account = world.services.database, other.account.id
    new = regenerate_key(database, account, other.secrets["jetrack"], datetime.now(UTC))
    assert _error(_get(world, "/account", key=other.secrets["jetrack"]))[0] == 401
    assert _get(world, "/account", key=new.secret).status_code == 200
    revoke_key(database, account, new.secret, datetime.now(UTC))
    assert _error(_get(world, "/account", key=new.secret))[0] == 401


def test_too_many_requests_of_one_key(world: World) -> None:
    other = world.another("lim@example.org", "Lim", "lim.example")
    answers = [_get(world, "/account", key=other.secrets["jetrack"]) for _ in range(601)]
    assert answers[599].status_code == 200
    assert answers[599].headers["x-ratelimit-remaining"] == "0"
    assert _error(answers[600]) == (429, "Too many requests")
    assert int(answers[600].headers["retry-after"]) >= 1
    assert _get(world, "/account").status_code == 200


def test_a_century_by_day_is_too_much(world: World) -> None:
    path = f"/websites/{world.project.website_id}/stats/timeseries"
    answer = _get(world, path, **{"from": "1900-01-01", "to": "2026-11-24"})
    assert _error(answer) == (400, "Invalid request")
    assert answer.json()["meta"]["errors"] == ["from and to are too far apart"]
