"""The document is complete, and its page works on a machine without the internet, also below a proxy's prefix."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.api.serving import serve_fake

REFERENCE = re.compile(r"""(?:src|href)="([^"]*)"|url: '([^']*)'""")


@pytest.mark.parametrize("root", ["", "/gauge"])
def test_the_page_loads_everything_from_here(tmp_path: Path, root: str) -> None:
    with serve_fake(tmp_path, root_path=root) as api:
        page = api.client.get("/docs", headers={"X-API-Key": ""})
        assert page.status_code == 200
        assert "://" not in page.text
        assert page.headers["content-security-policy"].startswith("default-src 'self' ")
        named = ["".join(found) for found in REFERENCE.findall(page.text)]
        assert sorted(named) == [
            f"{root}/docs/favicon.png",
            f"{root}/docs/swagger-ui-bundle.js",
            f"{root}/docs/swagger-ui.css",
            f"{root}/openapi.json",
        ]
        answers = {path: api.client.get(path.removeprefix(root)) for path in sorted(named)}
        assert {answer.status_code for answer in answers.values()} == {200}
        kinds = [answer.headers["content-type"].partition(";")[0] for answer in answers.values()]
        assert kinds == ["image/png", "text/javascript", "text/css", "application/json"]
        script = answers[f"{root}/docs/swagger-ui-bundle.js"].text
        assert "SwaggerUIBundle" in script


@pytest.mark.parametrize("path", ["/redoc", "/docs/redoc.standalone.js", "/docs/../docs/x", "/docs/oauth2-redirect"])
def test_nothing_else_is_beside_it(tmp_path: Path, path: str) -> None:
    with serve_fake(tmp_path) as api:
        assert api.client.get(path).status_code == 404


def test_every_body_has_a_schema_and_what_is_json_an_example_that_follows_it(tmp_path: Path) -> None:
    with serve_fake(tmp_path) as api:
        document = api.client.get("/openapi.json").json()
    bodies = dict(_bodies(document))
    assert len(bodies) > 150
    for label, (kind, body) in bodies.items():
        assert body["schema"], label
        jsonschema_rs.meta.validate(body["schema"])
        if kind == "application/json":
            jsonschema_rs.validate(body["schema"], body["example"])


def _bodies(document: dict[str, Any]) -> Iterator[tuple[str, tuple[str, dict[str, Any]]]]:
    """What is sent and what is answered, by where the document says so."""
    shared = document["components"]["responses"]
    answers = {f"error {status}": answer for status, answer in shared.items()}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            label = f"{method.upper()} {path}"
            answers[label] = operation.get("requestBody", {})
            for status, answer in operation["responses"].items():
                assert set(answer) == {"$ref"} or answer["description"], label
                answers[f"{label} {status}"] = answer
    for label, answer in answers.items():
        for kind, body in answer.get("content", {}).items():
            yield f"{label} {kind}", (kind, body)
