"""compose.yaml, Dockerfile and Makefile, held against the code they start."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from api.cli.main import COMMANDS, HIDDEN
from api.cli.settings import list_settings
from storage.broker.artifact import KAFKA_VERSION

ROOT = Path(__file__).parents[1]
OURS = ("prepare", "api", "worker", "maintain")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The services, as a parser of the compose specification reads them."""
    # YAML's merge keys are resolved first: the parser reads the specification's own JSON model.
    parsed = PyCompose.from_json(json.dumps(yaml.safe_load((ROOT / "compose.yaml").read_text())))
    parsed.to_spec()  # checked against the whole specification
    return parsed.to_dict()


def test_every_process_has_a_service(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"kafka", "postgres", *OURS}


@pytest.mark.parametrize("name", OURS)
def test_variables_are_settings(compose: dict[str, Any], name: str) -> None:
    known = {setting.name for setting in list_settings()}
    given = set(compose["services"][name]["environment"])
    assert given
    assert given <= known


@pytest.mark.parametrize("name", OURS)
def test_commands_are_commands(compose: dict[str, Any], name: str) -> None:
    words = compose["services"][name]["command"]
    words = shlex.split(words) if isinstance(words, str) else words
    words = shlex.split(words[2].removeprefix("exec ")) if words[0] == "sh" else words
    assert words[0] == "streamgauge"
    assert words[1] == name
    assert words[1] in COMMANDS | HIDDEN


def test_services_wait_are_healthy_and_keep_their_data(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        assert name == "prepare" or "healthcheck" in service, name
        assert service.get("volumes"), name
    for name in ("api", "worker", "maintain"):
        assert services[name]["depends_on"]["prepare"]["condition"] == "service_completed_successfully"
    assert {entry["condition"] for entry in services["prepare"]["depends_on"].values()} == {"service_healthy"}
    assert set(compose["volumes"]) == {"kafka", "postgres", "data"}


def test_only_the_api_is_published_and_only_on_loopback(compose: dict[str, Any]) -> None:
    text = (ROOT / "compose.yaml").read_text()
    assert re.findall(r'^ +- "(\S+:\d+:\d+)"$', text, re.M) == ["127.0.0.1:8000:8000"]
    assert [name for name, service in compose["services"].items() if service.get("ports")] == ["api"]
    assert '"--port", "8000"' in text
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^PORT \?= 8000$", makefile, re.M)
    assert re.search(r"^EXPOSE 8000$", (ROOT / "Dockerfile").read_text(), re.M)


def test_kafka_is_the_version_that_is_embedded(compose: dict[str, Any]) -> None:
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


def test_the_image_holds_the_pinned_packages_and_ours() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes -r requirements.lock" in dockerfile
    for package in ("schemas", "storage", "processors", "api"):
        assert f"COPY {package} {package}\n" in dockerfile
    assert re.search(r"^USER streamgauge$", dockerfile, re.M)


@pytest.mark.containers
def test_compose_runs_where_docker_answers() -> None:
    docker = shutil.which("docker")
    assert docker is not None
    up = [docker, "compose", "--project-directory", str(ROOT), "up", "--build", "--detach", "--wait"]
    down = [docker, "compose", "--project-directory", str(ROOT), "down", "--volumes"]
    try:
        subprocess.run(up, check=True, timeout=900)
    finally:
        subprocess.run(down, check=True, timeout=120)
