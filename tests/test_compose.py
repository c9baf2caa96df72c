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
from compose_spec import PyCompose, parse_duration

from api.cli.main import COMMANDS, HIDDEN
from api.cli.settings import list_settings
from processors.settings import WorkerSettings
from storage.broker.artifact import KAFKA_VERSION
from storage.settings import DataDirectory

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "storage", "processors", "api")
# Standard names that the lake's libraries read by themselves.
AWS = {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ALLOW_HTTP"}
ONCE = ("prepare", "bucket")
OURS = ("prepare", "api", "worker", "maintain")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The services, as a parser of the compose specification reads them."""
    # YAML's merge keys are resolved first: the parser reads the specification's own JSON model.
    parsed = PyCompose.from_json(json.dumps(yaml.safe_load((ROOT / "compose.yaml").read_text())))
    parsed.to_spec()  # checked against the whole specification
    return parsed.to_dict()


def test_every_process_has_a_service(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"kafka", "postgres", "objects", "bucket", *OURS}
    assert sorted(name for name, service in compose["services"].items() if service.get("profiles")) == [
        "bucket",
        "objects",
    ]


@pytest.mark.parametrize("name", OURS)
def test_variables_are_settings(compose: dict[str, Any], name: str) -> None:
    known = {setting.name for setting in list_settings()}
    given = set(compose["services"][name]["environment"])
    assert given
    assert given - known <= AWS


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
        assert name in ONCE or "healthcheck" in service, name
        assert service.get("volumes"), name
        assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    for name in ("api", "worker", "maintain"):
        assert services[name]["depends_on"]["prepare"]["condition"] == "service_completed_successfully"
    needed = services["prepare"]["depends_on"]
    # Without the profile there is no bucket to wait for.
    assert needed.pop("bucket") == {"condition": "service_completed_successfully", "required": False}
    assert {name: entry["condition"] for name, entry in needed.items()} == dict.fromkeys(
        ("kafka", "postgres"), "service_healthy"
    )
    assert set(compose["volumes"]) == {"kafka", "postgres", "objects", "data"}


@pytest.mark.parametrize("name", OURS)
def test_no_two_containers_share_the_files_of_their_metrics(compose: dict[str, Any], name: str) -> None:
    """Each is pid 1 of its container, and prometheus-client names its files by pid."""
    service = compose["services"][name]
    directory = DataDirectory(Path(service["environment"]["STREAMGAUGE_DATA_DIR"]))
    assert service["tmpfs"] == [str(directory.metrics)]
    # Where the image has no such directory, Docker makes it, and its parent, as root's.
    [made] = re.findall(r"install --directory --owner streamgauge --mode 0700 (.*)$", _text("Dockerfile"), re.M)
    assert made.split() == [str(directory.root), str(directory.run), str(directory.metrics)]


def test_containers_end_before_they_are_killed(compose: dict[str, Any]) -> None:
    grace = compose["services"]["worker"]["stop_grace_period"]
    assert parse_duration(grace) > WorkerSettings().shutdown_seconds


@pytest.mark.parametrize("document", ["README.md", "docs/operators.md"])
def test_documents_name_what_exists(document: str) -> None:
    text = _text(document)
    targets = set(re.findall(r"^([a-z-]+):.*##", _text("Makefile"), re.M)) | {"install-dev"}
    assert set(re.findall(r"`make ([a-z-]+)", text)) | set(re.findall(r"^make ([a-z-]+)", text, re.M)) <= targets
    named = set(re.findall(r"(?:`|bin/|^| )streamgauge ([a-z]+)\b(?! [a-z]+ [a-z]+ )", _code(text), re.M))
    assert named
    assert named <= set(COMMANDS | HIDDEN)


def test_the_operators_guide_names_settings_that_exist() -> None:
    named = re.findall(r"\b(?:STREAMGAUGE_[A-Z_]+|KAFKA_[A-Z_]+|DATABASE_URL)\b", _text("docs/operators.md"))
    known = {setting.name for setting in list_settings()}
    # One that ends in a dash stands for all that begin so.
    assert [name for name in named if name not in known and not (name.endswith("_") and name in " ".join(known))] == []


def test_the_operators_guide_explains_every_alarm() -> None:
    sources = [path.read_text() for top in PACKAGES for path in (ROOT / top).rglob("*.py")]
    raised = re.compile(r'"streamgauge_alarms_total",\s*(?:kind=|"kind", )"([a-z ]+)"')
    kinds = {kind for source in sources for kind in raised.findall(source)}
    assert len(kinds) > 5
    assert set(re.findall(r"^\| `([a-z ]+)` \|", _text("docs/operators.md"), re.M)) == kinds


def test_hooks_are_what_make_check_runs() -> None:
    hooks = [hook for repo in yaml.safe_load(_text(".pre-commit-config.yaml"))["repos"] for hook in repo["hooks"]]
    entries = [hook["entry"].replace(".venv/bin", "$(BIN)").split(" -")[0] for hook in hooks]
    [check] = re.findall(r"^check:.*\n\t@(.*)$", _text("Makefile"), re.M)
    assert entries == [step.split(" -")[0].removesuffix(" .") for step in check.split(" && ")]
    assert {hook["language"] for hook in hooks} == {"system"}


def _text(name: str) -> str:
    return (ROOT / name).read_text()


def _code(markdown: str) -> str:
    """What is set as code: a sentence may begin with the project's name."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", markdown, re.S))


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
    for package in PACKAGES:
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
