"""Each dialect's page lists exactly the routes that it answers, and its examples work."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.routing import Route

from api.app import assemble
from api.dialects.catalogue import dialects
from api.settings import ApiSettings
from tests.api.dialects.world import EMAIL, PASSWORD, serving
from tests.fakes import FakeProducer

PAGES = Path(__file__).parent.parent / "docs" / "dialects"


def _documented(name: str) -> set[tuple[str, str]]:
    text = (PAGES / f"{name}.md").read_text()
    return set(re.findall(r"^\| ([A-Z]+) \| `([^`]+)` \|", text, flags=re.MULTILINE))


def test_every_page_and_every_route(tmp_path: Path) -> None:
    services = assemble(ApiSettings(data_dir=tmp_path), FakeProducer())
    try:
        surfaces = dialects(services)
        assert {page.stem for page in PAGES.glob("*.md")} == set(surfaces)
        for name, app in surfaces.items():
            routes = [route for route in app.surface.routes if isinstance(route, Route)]
            assert len(routes) == len(app.surface.routes)
            answered = {(method, route.path) for route in routes for method in route.methods or () if method != "HEAD"}
            assert _documented(name) == answered, name
    finally:
        services.analytics.close()


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_every_route_has_its_mark(page: Path) -> None:
    text = page.read_text()
    for line in re.findall(r"^\| [A-Z]+ \| `.*$", text, flags=re.MULTILINE):
        assert re.search(r"\| [^|]*\b[SFI][123]\b[^|]*\|$", line), line


def _examples() -> list[tuple[str, str]]:
    found = []
    for page in sorted(PAGES.glob("*.md")):
        blocks = re.findall(r"^```\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        found += [(page.stem, block) for block in blocks]
    return found


@pytest.mark.skipif(shutil.which("curl") is None or shutil.which("bash") is None, reason="needs curl")
@pytest.mark.parametrize(("name", "example"), _examples())
def test_every_example_works_with_only_the_host_changed(name: str, example: str, tmp_path: Path) -> None:
    with serving(tmp_path) as world:
        project = world.project
        variables = {
            "PATH": os.environ["PATH"],
            "JETRACK_KEY": world.secret("jetrack"),
            "OVYXA_KEY": world.secret("ovyxa"),
            "COHORLY_KEY": world.secret("cohorly"),
            "WEBSITE": project.website_id,
            "SITE": project.site_id,
            "TOKEN": project.token,
        }
        script = example.replace("http://127.0.0.1:8000", world.url).replace("curl ", "curl -sS --fail-with-body ")
        script = script.replace("you@example.com", EMAIL).replace("your-password", PASSWORD)
        # The one use of jq takes a field of the answer.
        take = f"{sys.executable} -c 'import json, sys; print(json.load(sys.stdin)[\"token\"])'"
        script = script.replace("jq -r '.token'", take)
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], env=variables, capture_output=True, text=True, timeout=60
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert len(ran.stdout) > 10
