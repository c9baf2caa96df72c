"""Each dialect's page lists exactly the routes that it answers."""

import re
from pathlib import Path

import pytest
from starlette.routing import Route

from api.app import assemble
from api.dialects.catalogue import dialects
from api.settings import ApiSettings
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
