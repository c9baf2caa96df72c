"""The command line as a user meets it: quick help, and one line for whatever goes wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.cli.main import COMMANDS, main
from api.cli.settings import list_settings
from api.settings import ApiSettings


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, command, "--help")

    assert (status, err) == (0, "")
    assert "Usage:" in out


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys)

    assert status == 0
    assert all(name in out for name in COMMANDS)


def test_help_loads_no_command() -> None:
    code = "import atexit, sys; from api.cli.main import main; atexit.register(lambda: print([*sys.modules])); main()"

    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)

    loaded = done.stdout.splitlines()[-1]
    assert "'typer'" in loaded
    for heavy in ("api.cli.up", "uvicorn", "confluent_kafka", "sqlalchemy", "deltalake", "pyarrow", "pydantic"):
        assert f"'{heavy}'" not in loaded


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("frobnicate",), "streamgauge: No such command 'frobnicate' (see --help)\n"),
        (("keys", "frobnicate"), "streamgauge: No such command 'frobnicate' (see --help)\n"),
        (("up", "--wings"), "streamgauge: No such option: --wings (see --help)\n"),
        (("up", "--workers", "0"), "streamgauge: Invalid value for '--workers': Input should be"),
        (("up", "--port", "99999"), "streamgauge: Invalid value for '--port': Input should be"),
        (("up", "--port", "http"), "streamgauge: Invalid value for '--port': Input should be"),
        (("up", "--root-path", "gauge/"), "streamgauge: Invalid value for '--root-path': String should match"),
        (("worker", "--metrics-port", "0"), "streamgauge: Invalid value for '--metrics-port': Input should be"),
        (("api", "--port", "-1"), "streamgauge: Invalid value for '--port': Input should be"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    arguments: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, *arguments)

    assert status == 2
    assert out == ""
    assert err.startswith(line.rstrip("\n"))
    assert err.count("\n") == 1


def test_an_impossible_setting_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMGAUGE_KAFKA_PARTITIONS", "many")

    status, _, err = run(capsys, "ps")

    assert status == 1
    assert err.startswith("streamgauge: setting STREAMGAUGE_KAFKA_PARTITIONS: Input should be a valid integer")
    assert err.count("\n") == 1


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [setting.name for setting in list_settings()]
    for name in names:
        monkeypatch.delenv(name, raising=False)
    unset = ApiSettings()
    for name in names:
        monkeypatch.setenv(name, "")
    assert ApiSettings() == unset


def test_a_data_directory_that_cannot_be_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    status, _, err = run(capsys, "keys", "list", "--data-dir", str(tmp_path / "file" / "data"))

    assert (status, err) == (1, f"streamgauge: {tmp_path}/file/data: Not a directory\n")


def test_a_defect_is_one_line_and_a_traceback_on_request(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def command() -> None:\n    raise KeyError('lost')\n")
    code = "from api.cli import main; main.COMMANDS['x'] = main.Entry('broken:command', 'x'); main.main(['x'])"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    brief = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    environment["STREAMGAUGE_DEBUG"] = "1"
    full = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)

    assert brief.returncode == 1
    assert brief.stderr == "streamgauge: unexpected KeyError: 'lost'; STREAMGAUGE_DEBUG=1 shows where\n"
    assert "Traceback" in full.stderr


def test_an_interrupted_command_says_nothing() -> None:
    code = "import os, signal; from api.cli import main; main._run = lambda _: os.kill(os.getpid(), signal.SIGINT)"

    done = subprocess.run([sys.executable, "-c", f"{code}; main.main(['x'])"], capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (130, b"")
