"""Logs: one JSON object a line, in files that rotate."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def test_a_line_is_an_object(tmp_path: Path) -> None:
    logs.configure_logging("api", tmp_path)
    logging.getLogger("api.log").warning("log %s\nunavailable", "é", extra={"topic": "events", "partition": 3})
    [line] = (tmp_path / "api.log").read_text(encoding="utf-8").splitlines()
    found = json.loads(line)
    assert found.pop("at").endswith("+00:00")
    assert found == {
        "level": "warning",
        "process": "api",
        "logger": "api.log",
        "message": "log é\nunavailable",
        "topic": "events",
        "partition": 3,
    }


def test_an_exception_stays_on_its_line(tmp_path: Path) -> None:
    logs.configure_logging("api", tmp_path)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("api").exception("failed")
    [line] = (tmp_path / "api.log").read_text().splitlines()
    assert json.loads(line)["error"].endswith("ValueError: broken")


def test_without_a_directory_it_goes_to_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    logs.configure_logging("worker-0", None)
    logging.getLogger("x").info("hello")
    logging.getLogger("x").debug("not this")
    assert json.loads(stderr.getvalue())["process"] == "worker-0"


def test_configuring_again_replaces(tmp_path: Path) -> None:
    logs.configure_logging("one", tmp_path)
    logs.configure_logging("two", tmp_path)
    logging.getLogger("x").info("hello")
    assert (tmp_path / "one.log").read_text() == ""
    assert len((tmp_path / "two.log").read_text().splitlines()) == 1


def test_files_rotate_and_only_their_owner_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 1000)
    logs.configure_logging("api", tmp_path)
    for _ in range(100):
        logging.getLogger("x").info("x" * 100)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["api.log", "api.log.1", "api.log.2", "api.log.3", "api.log.4"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())
