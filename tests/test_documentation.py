"""What the documents say is what the code does: tables in both directions, links, commands, records, addresses."""

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import pytest
from fastapi import FastAPI
from starlette.routing import Route

from api.app import assemble, create_app
from api.cli.main import COMMANDS, HIDDEN, main
from api.cli.settings import list_settings
from api.errors import CODES, Cause
from api.ingest.lane import EVENT_PATHS
from api.ingest.validation import check_line, split_batch
from api.live.exposition import Exposition
from api.live.view import LiveView
from api.middleware import NATIVE_MOUNTS
from api.openapi import ASSETS, PAGE
from api.routes.realtime import REALTIME_PATHS
from api.settings import ApiSettings
from processors.errors import NeedsPerson, Restart
from schemas.deadletters import REASONS
from schemas.events import Context, Event, EventLimits, InvalidEvent
from schemas.live import PartitionStatus
from storage.lake.tables import TABLES
from storage.maintenance.process import DISK_FAILED
from storage.metrics import METRICS
from storage.settings import DataDirectory
from tests.api.serving import serve_fake
from tests.fakes import FakeKeys, FakeProducer

ROOT = Path(__file__).parents[1]
PACKAGES = ("api", "processors", "storage", "schemas")
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BY_NAME = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
# The document of the API, and its page.
PAGES = {"/openapi.json", PAGE, *(f"{PAGE}/{name}" for name in ASSETS)}


def rows(heading: str) -> list[tuple[str, ...]]:
    """The cells of the table below a heading; no cell is empty."""
    section = REFERENCE.partition(f"\n{heading}\n")[2]
    assert section, f"docs/reference.md has no heading {heading}"
    lines = re.split(r"^#{2,3} ", section, maxsplit=1, flags=re.MULTILINE)[0].splitlines()
    found = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines if line.startswith("| ")]
    assert all(all(cells) for cells in found)
    return found[1:]


def named(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def only(cell: str) -> str:
    [name] = named(cell)
    return name


def unique(names: Iterable[str]) -> set[str]:
    listed = list(names)
    assert len(listed) == len(set(listed))
    return set(listed)


def sources() -> dict[str, str]:
    return {str(path): path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py")}


# -- tables of the reference ------------------------------------------------------------------


def test_every_setting_with_its_default_and_its_readers() -> None:
    said = {only(name): ("".join(named(default)), process) for name, default, process, _ in rows("## Settings")}
    assert said == {setting.name: (setting.default, setting.process) for setting in list_settings()}
    assert list(said) == [setting.name for setting in list_settings()]


def test_every_variable_in_the_code_is_mentioned() -> None:
    """Settings are found by their classes; what is read from the environment by hand is not."""
    texts = {path: text for path, text in sources().items() if not path.endswith("faults.py")}
    read = {name for text in texts.values() for name in re.findall(r'"(STREAMGAUGE_[A-Z_]+[A-Z])"', text)}
    assert read
    assert {name for name in read if f"`{name}" not in REFERENCE} == set()


def test_every_metric_with_its_kind_and_labels() -> None:
    said = {only(name): (kind, tuple(named(labels))) for name, kind, labels, _ in rows("## Metrics")}
    assert said == {name: (metric.kind, metric.labels) for name, metric in METRICS.items()}


def test_every_cause_of_a_503_is_named() -> None:
    [meaning] = [cells[-1] for cells in rows("## Metrics") if only(cells[0]) == "streamgauge_log_unavailable_total"]
    assert set(named(meaning)) == set(get_args(Cause))


def test_every_alarm() -> None:
    raised = {
        kind for text in sources().values() for kind in re.findall(r'alarms_total", (?:kind=|"kind", )"([^"]+)"', text)
    }
    assert unique(only(kind) for kind, *_ in rows("### Alarms")) == raised


def test_every_metric_of_a_project() -> None:
    view = LiveView(lambda: 1)
    at = 1_700_000_000_000
    view.apply(PartitionStatus("log", 0, 1, 1, 1, "live", at, at, at, "worker-0", None, at))
    page = Exposition(view).page(1, at + 500).decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, flags=re.MULTILINE))
    labels = {
        name: tuple(re.findall(r'(\w+)="', labels))
        for name, labels in re.findall(r"^(\w+)\{(.*)\} ", page, flags=re.MULTILINE)
    }
    said = {only(name): (kind, tuple(named(labels))) for name, kind, labels, _ in rows("### One project's figures")}
    assert said == {name: (kind, labels[name]) for name, kind in kinds.items()}


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    """Method and path of everything the app answers, in its document or beside it."""
    documented = app.openapi()["paths"]
    found = {(method.upper(), path) for path, item in documented.items() for method in item}
    for route in app.routes:
        if isinstance(route, Route):
            found |= {(method, route.path) for method in route.methods or () if method != "HEAD"}
        else:  # a router: all of its routes are in the document
            assert all(inner.include_in_schema for inner in route.original_router.routes)  # type: ignore[attr-defined]
    return found


def test_every_route(tmp_path: Path) -> None:
    keys = FakeKeys({}, {})
    settings = ApiSettings(data_dir=tmp_path)
    services = assemble(settings, FakeProducer(), keys, keys.find_project)
    layer: object = create_app(settings, services)
    while not isinstance(layer, FastAPI):
        layer = layer._app  # type: ignore[attr-defined]  # each lane holds what it stands in front of
    lanes = {("POST", f"{NATIVE_MOUNTS[0]}{path}") for path in EVENT_PATHS}
    lanes |= {("GET", f"{NATIVE_MOUNTS[0]}{path}") for path in REALTIME_PATHS}
    services.analytics.close()
    documented = {(method, only(path)) for method, path, _, _ in rows("## Routes")}
    assert len(documented) == len(rows("## Routes"))
    assert documented == routes_of(layer) | lanes


def test_every_route_wants_the_key_it_says(tmp_path: Path) -> None:
    with serve_fake(tmp_path) as api:
        for method, path, scope, _ in rows("## Routes"):
            mounts = [only(path)]
            if scope != "none":
                mounts.append(only(path).replace(NATIVE_MOUNTS[0], NATIVE_MOUNTS[1]))
            for place in mounts:
                address = re.sub(r"\{\w+\}", "evt_1", place)
                content = b'{"event": "a"}' if method in ("POST", "PATCH") else None
                headers = {"X-API-Key": ""}
                nobody = api.client.request(method, address, headers=headers, content=content).status_code
                if scope == "none":
                    expected = 400 if method != "GET" else 404 if "{" in path else 200
                    assert nobody == expected, address
                    continue
                assert nobody == 401, address
                wrong = "sg_read" if scope == "ingest" else "sg_ingest"
                answer = api.client.request(method, address, headers={"X-API-Key": wrong}, content=content)
                assert answer.status_code == 403, address


def test_the_openapi_document_tells_the_same(tmp_path: Path) -> None:
    with serve_fake(tmp_path) as api:
        document = api.client.get("/openapi.json").json()
    native = {
        (method, only(path), scope) for method, path, scope, _ in rows("## Routes") if only(path) not in PAGES
    } - {("GET", "/metrics", "none")}
    told = {
        (method.upper(), path, bool(operation.get("security")))
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }
    assert told == {(method, path, scope != "none") for method, path, scope in native}
    for item in document["paths"].values():
        assert all("401" in one["responses"] for one in item.values() if one.get("security"))
    examples = {
        name: answer["content"]["application/json"]["example"]
        for name, answer in document["components"]["responses"].items()
    }
    assert {name: example["error"] for name, example in examples.items()} == {
        name: CODES[int(name)] for name in examples
    }
    used = set(re.findall(r'"#/components/(\w+)/(\w+)"', str(document).replace("'", '"')))
    assert used == {("responses", name) for name in examples}


def test_every_error_code() -> None:
    assert [(int(status), only(code)) for status, code, *_ in rows("## Errors")] == list(CODES.items())


def test_every_reason_of_a_dead_letter() -> None:
    assert [only(reason) for reason, *_ in rows("## Dead letters")] == list(REASONS)


def test_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    said = {only(status) for status, *_ in rows("## Exit statuses")}
    with pytest.raises(SystemExit) as unknown:
        main(["no-such-command"])
    assert capsys.readouterr().err.count("\n") == 1
    special = {NeedsPerson.exit_status, Restart.exit_status, DISK_FAILED, unknown.value.code}
    assert {"0", "1", "130", *map(str, special)} == said


def test_every_place_below_the_data_directory() -> None:
    said = {path for cells in rows("## Files below the data directory") for path in named(cells[0])}
    directory = DataDirectory(Path("/data"))
    places = {name for name, kind in vars(DataDirectory).items() if isinstance(kind, property)}
    for name in places:
        place = str(getattr(directory, name).relative_to(directory.root))
        assert any(path == place or path.startswith(f"{place}/") for path in said), place
    assert {f"lake/{name}" for name in TABLES} <= said


# -- all documents ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", BY_NAME)
def test_links_lead_somewhere(name: str) -> None:
    document = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        other = document.parent / path if path else document
        assert other.exists(), target
        if anchor:
            assert anchor in anchors(other.read_text(encoding="utf-8")), target


def anchors(text: str) -> set[str]:
    """The anchors of headings, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", BY_NAME)
def test_make_targets_exist(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, flags=re.MULTILINE))
    assert called("make", name) <= targets


@pytest.mark.parametrize("name", BY_NAME)
def test_commands_and_their_options_exist(name: str) -> None:
    for line in code(name):
        for call in re.findall(r"(?:^|[\s(/])streamgauge ([^#|`]*)", line):
            if not (words := call.split()) or not re.fullmatch(r"[a-z]+", words[0]):
                continue
            assert words[0] in COMMANDS | HIDDEN, line
            # A group's own commands, and the options of either: what `--help` of the same words shows.
            groups = (
                [words[:2]] if words[0] in ("lake", "keys") and re.fullmatch(r"[a-z-]+", "".join(words[1:2])) else []
            )
            page = help_of(tuple(groups[0] if groups else words[:1]))
            for option in re.findall(r"(?<!\S)--[a-z-]+", call.partition('"')[0]):
                assert option in page, line


_PAGES: dict[tuple[str, ...], str] = {}


def help_of(words: tuple[str, ...]) -> str:
    if words not in _PAGES:
        command = [sys.executable, "-m", "api.cli", *words, "--help"]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        _PAGES[words] = result.stdout
    return _PAGES[words]


def code(name: str) -> list[str]:
    """Lines of code blocks, and what stands in backticks."""
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`]+)`", rest)


def called(program: str, name: str) -> set[str]:
    """The first words after a program's name where a command line begins with it."""
    return {word for line in code(name) for word in re.findall(rf"^{program} ([a-z][a-z-]*)", line.removeprefix("$ "))}


def test_examples_name_targets_and_commands() -> None:
    """The readers above see something."""
    assert {"up", "test"} <= called("make", "README.md")
    assert any("streamgauge init" in line for line in code("README.md"))


@pytest.mark.parametrize("name", BY_NAME)
def test_bodies_that_examples_send_are_events(name: str) -> None:
    """Those marked as partly wrong are wrong in the item they say."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    for body in re.findall(r"/api/v1/events(?:/batch)?[\"' ].* -d '([^']+)'", text):
        verdicts = [_verdict(raw) for raw in split_batch(body.encode(), 1000)]
        assert verdicts[0] is None, body
        assert verdicts[1:] in ([], ["Missing required field: event"]), body


def _verdict(raw: bytes) -> str | None:
    try:
        check_line(raw, EventLimits(), 0)
    except InvalidEvent as error:
        return error.message
    return None


def test_the_producers_guide_names_every_field() -> None:
    text = (ROOT / "docs" / "producers.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| (`.*?) \| ", text.partition("| field |")[2].partition("\n\n")[0], flags=re.MULTILINE)
    assert unique(name for cell in table for name in named(cell)) == set(Event.__struct_encode_fields__)
    assert all(f"`{name}`" in text for name in Context.__struct_encode_fields__)


@pytest.mark.parametrize("name", BY_NAME)
def test_python_examples_compile(name: str) -> None:
    for block in re.findall(
        r"^```python\n(.*?)^```", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        compile(block, name, "exec")


DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))


@pytest.mark.parametrize("record", [path.name for path in DECISIONS])
def test_decision_records_have_their_four_sections(record: str) -> None:
    text = (ROOT / "docs" / "decisions" / record).read_text(encoding="utf-8")
    assert re.match(rf"# {record[:4]} \S", text)
    sections = re.findall(r"^\*\*(\w+)\.\*\*\s+\S", text, flags=re.MULTILINE)
    assert sections == ["Context", "Decision", "Consequences", "Alternatives"]


def test_decision_records_are_numbered_without_gaps() -> None:
    assert [path.name[:4] for path in DECISIONS] == [f"{number:04}" for number in range(1, len(DECISIONS) + 1)]


# -- addresses --------------------------------------------------------------------------------

# Put together, so that this file does not hold what it looks for.
HOSTS = [
    "py" + "pi.org",
    "pythonhosted" + ".org",
    "repo1." + "maven.org",
    "repo.maven" + ".apache.org",
    "npmjs" + ".org",
]
HOMES = [f"/{place}/" for place in ("ro" + "ot", "ho" + "me", "wo" + "rk", "Us" + "ers")]


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_no_tracked_file_names_a_registry_or_a_developers_machine() -> None:
    wrong = re.compile("|".join([*map(re.escape, HOSTS), *(rf"(?<![\w.*/-]){re.escape(home)}" for home in HOMES)]))
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {hit}" for hit in wrong.findall(text)]
    assert found == []


@pytest.mark.parametrize(
    "name",
    ["requirements.lock", "requirements-dev.lock", "requirements-older-duckdb.lock", "requirements-clickhouse.lock"],
)
def test_locks_hold_versions_and_hashes_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--index|--extra-index|--find-links|--trusted)", text, flags=re.MULTILINE)
    pinned = re.findall(r"^[A-Za-z0-9_.\[\],-]+==\S+", text, flags=re.MULTILINE)
    requirements = [part for part in re.split(r"\n(?=\S)", text.strip()) if not part.startswith("#")]
    assert len(pinned) == len(requirements)
    assert all("--hash=sha256:" in requirement for requirement in requirements)


def test_the_clients_lock_holds_sums_and_no_address() -> None:
    text = (ROOT / "tests" / "clients" / "js" / "package-lock.json").read_text()
    assert "://" not in text
    assert text.count('"integrity": "sha512-') >= 20


def test_the_servers_lock_holds_sums_and_no_address() -> None:
    text = (ROOT / "storage" / "broker" / "jgo.lock.toml").read_text()
    assert "://" not in text
    assert text.count("sha256") >= 40
