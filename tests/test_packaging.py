"""The wheel holds our four packages and nothing else; `make` says in one line when no Python suits it."""

import configparser
import importlib
import os
import shutil
import stat
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("api", "processors", "storage", "schemas")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """Built of what git tracks, as hatchling does for pip; nothing is fetched for it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    [path] = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def tracked() -> set[str]:
    """The files of the packages that are in the repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PACKAGES]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).is_file()}


def contents(wheel: zipfile.ZipFile) -> set[str]:
    return {name for name in wheel.namelist() if ".dist-info/" not in name}


def metadata(wheel: zipfile.ZipFile) -> Message:
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(wheel.read(name).decode())


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    assert contents(wheel) == tracked()


def test_the_wheel_holds_the_data_files(wheel: zipfile.ZipFile) -> None:
    held = contents(wheel)
    assert {f"{package}/py.typed" for package in PACKAGES} <= held
    assert "storage/broker/jgo.lock.toml" in held
    assert "storage/meta/migrations/env.py" in held
    assert any(name.startswith("storage/meta/migrations/versions/r0001") for name in held)


def test_the_metadata_says_what_is_needed(wheel: zipfile.ZipFile) -> None:
    said = metadata(wheel)
    assert said["Name"] == "streamgauge"
    assert said["Version"] == PROJECT["version"]
    assert set(said["Requires-Python"].split(",")) == {">=3.11", "<3.14"}
    assert said.get_all("Classifier") == ["Private :: Do Not Upload"]
    assert said["License-Expression"] == "Apache-2.0"


def test_the_make_file_takes_the_pythons_that_the_package_takes() -> None:
    [line] = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("VERSIONS :=")]
    assert line.split(":=")[1].split() == ["3.13", "3.12", "3.11"]
    assert PROJECT["requires-python"] == ">=3.11,<3.14"


def test_the_console_script_exists(wheel: zipfile.ZipFile) -> None:
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    parser = configparser.ConfigParser()
    parser.read_string(wheel.read(name).decode())
    scripts = dict(parser["console_scripts"])
    assert list(scripts) == ["streamgauge"]
    module, _, function = scripts["streamgauge"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_every_dependency_is_pinned() -> None:
    lock = (ROOT / "requirements.lock").read_text().lower()
    for requirement in PROJECT["dependencies"]:
        name = requirement.split(";")[0].split("[")[0].split(">")[0].split("=")[0].strip().lower()
        assert f"\n{name}==" in f"\n{lock}", name


# -- make without a Python that suits it ------------------------------------------------------


def make(folder: Path, python: str | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`make install` where PATH has a shell, make, and at most one `python3`, which is this script."""
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("requirements.lock", "pyproject.toml"):
        (folder / name).touch()
    programs = folder / "bin"
    programs.mkdir()
    for program in ("sh", "rm", "touch"):
        found = shutil.which(program)
        assert found is not None
        (programs / program).symlink_to(found)
    if python is not None:
        script = programs / "python3"
        script.write_text(f"#!/bin/sh\n{python}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    maker = shutil.which("make")
    assert maker is not None
    environment = {"PATH": str(programs), "HOME": str(folder), "LANG": "C"}
    command = [maker, "install", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def complaint(result: subprocess.CompletedProcess[str]) -> str:
    """The one line of ours; make adds its own, that the target failed."""
    assert result.returncode == 2
    assert result.stdout == ""
    ours, *rest = result.stderr.splitlines()
    assert [line.split(":")[0] for line in rest] == ["make"]
    return ours


def after(preparation: str) -> str:
    """A Python to which this happens before it runs what follows `-c`."""
    return f"""shift; exec '{sys.executable}' -c "import sys; {preparation}; exec(sys.argv.pop(1))" "$@" """


def claims(version: str) -> str:
    """A Python that is of another version, as far as it is asked."""
    return after(f"sys.version_info = ({version.replace('.', ', ')}, 0)")


def test_no_python_is_one_line(tmp_path: Path) -> None:
    assert complaint(make(tmp_path, None)).startswith(
        "Streamgauge needs CPython 3.11, 3.12 or 3.13 with venv: none is on"
    )


@pytest.mark.parametrize("version", ["3.10", "3.14"])
def test_a_python_of_another_version_is_not_taken(tmp_path: Path, version: str) -> None:
    assert complaint(make(tmp_path, claims(version))).endswith("name one with PYTHON=/path/to/python3.12")
    assert not (tmp_path / ".venv").exists()


def test_a_named_python_of_another_version_is_refused(tmp_path: Path) -> None:
    assert ": python3 is none; " in complaint(make(tmp_path, claims("3.10"), "PYTHON=python3"))
    assert not (tmp_path / ".venv").exists()


def test_a_python_that_cannot_make_a_venv_is_not_taken(tmp_path: Path) -> None:
    """Debian's python3 without python3-venv: `ensurepip` is missing."""
    blocked = after("sys.modules['ensurepip'] = None")
    assert "none is on PATH" in complaint(make(tmp_path, blocked))


def test_a_venv_that_fails_leaves_nothing(tmp_path: Path) -> None:
    half = f"""[ "$1" = -m ] || exec '{sys.executable}' "$@"
mkdir -p .venv/bin; echo broken > .venv/bin/python; exit 3"""
    programs = tmp_path / "more"
    programs.mkdir()
    result = make(tmp_path, f'PATH="$PATH{os.pathsep}{os.defpath}"; {half}')
    assert result.returncode == 2
    assert not (tmp_path / ".venv").exists()


def test_a_python_that_suits_is_taken(tmp_path: Path) -> None:
    """The control of the tests above: the same stand-in, of a version that will do."""
    version = ".".join(map(str, sys.version_info[:2]))
    probe = f"""[ "$1" != -m ] || {{ echo "asked to make $3" >&2; exit 3; }}
{claims(version)}"""
    result = make(tmp_path, probe)
    assert "asked to make .venv" in result.stderr
    assert "Streamgauge needs" not in result.stderr
