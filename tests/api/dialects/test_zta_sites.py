"""A ZTA site as a ZIP, and the proof whose domain it is."""

import io
import json
import zipfile
from collections.abc import Iterator
from datetime import timedelta

import dns.rcode
import pytest

from tests.api.dialects.test_zta import MOUNTS, NOON, call, error_of, ok
from tests.api.dialects.world import World, serving
from tests.factories import event_row
from tests.nameserver import NameServer, serving_names


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    with serving_names() as found:
        yield found


@pytest.fixture(scope="module")
def world(names: NameServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("zta-sites"), limit_zta="0", dns_server=names.address) as found:
        number = found.project.id
        found.append([event_row(NOON - timedelta(days=400 * day), f"u{day}", project=number) for day in range(3)])
        found.append([event_row(NOON, "stranger", project=number + 1)])
        yield found


@pytest.mark.parametrize("mount", MOUNTS)
def test_a_site_is_taken_along_as_a_zip(world: World, mount: str) -> None:
    site = world.project.site_id
    goal = {"siteId": site, "name": "Thanks", "type": "pageview", "path": "/thank-you"}
    ok(call(world, "/api/goals", "POST", json=goal), 201)
    url = ok(call(world, f"{mount}/api/sites/{site}/export"))["downloadUrl"]
    assert url.startswith(world.url)
    assert world.client.get(url).status_code == 401  # the address alone opens nothing
    found = call(world, url)
    assert found.status_code == 200
    assert found.headers["content-type"] == "application/zip"
    assert found.headers["content-disposition"].startswith(f'attachment; filename="zta-{site}-')
    with zipfile.ZipFile(io.BytesIO(found.content)) as archive:
        assert archive.testzip() is None
        held = {name: archive.read(name) for name in archive.namelist()}
    assert list(held) == ["site.json", "goals.json", "funnels.json", "alerts.json", "events.ndjson"]
    described = json.loads(held["site.json"])
    assert (described["id"], described["domain"], described["settings"]) == (site, "shop.example", {})
    assert {item["name"] for item in json.loads(held["goals.json"])} == {"Thanks"}
    assert json.loads(held["funnels.json"]) == []
    events = [json.loads(line) for line in held["events.ndjson"].splitlines()]
    assert {event["distinctId"] for event in events} == {"u0", "u1", "u2"}


def test_who_may_take_it_along(world: World) -> None:
    other = world.another("eve@example.org", "Other", "other.example").project.site_id
    for path in ("export", "verify"):
        assert error_of(call(world, f"/api/sites/site_nobody/{path}")) == (404, "Site not found")
        assert error_of(call(world, f"/api/sites/{other}/{path}")) == (403, "Access denied")
    path = f"/api/sites/{world.project.site_id}"
    made = {"name": "r", "scope": "read", "expiresIn": None}
    reader = ok(call(world, "/api/api-keys", "POST", json=made), 201)["apiKey"]["key"]
    ok(call(world, f"{path}/verify", token=reader))
    text = "Insufficient permissions. This key has read-only access."
    assert error_of(call(world, f"{path}/verify", "POST", token=reader)) == (403, text)


@pytest.mark.parametrize("mount", MOUNTS)
def test_a_domain_is_proven_by_its_record(world: World, names: NameServer, mount: str) -> None:
    path = f"{mount}/api/sites/{world.project.site_id}/verify"
    names.records.clear()
    wanted = ok(call(world, path))["verification"]
    assert wanted == {"type": "TXT", "name": "_zta-verify", "value": f"zta-verify={world.project.site_id}"}
    assert ok(call(world, path, "POST")) == {"verification": wanted, "verified": False}
    names.records["_zta-verify.shop.example"] = ["v=spf1", "zta-verify=site_another"]
    assert ok(call(world, path, "POST"))["verified"] is False
    names.records["_zta-verify.shop.example"].append(wanted["value"])
    assert ok(call(world, path, "POST"))["verified"] is True
    names.code = dns.rcode.SERVFAIL
    try:
        answer = error_of(call(world, path, "POST"))
    finally:
        names.code = dns.rcode.NOERROR
    assert answer == (503, "The domain cannot be looked up now. Try again later.")


def test_a_name_is_no_domain(world: World, names: NameServer) -> None:
    made = world.another(project="No Domain", domain="")
    names.asked.clear()
    path = f"/api/sites/{made.project.site_id}/verify"
    assert error_of(call(world, path, "POST")) == (400, "Invalid domain format")
    assert not names.asked
