"""The table of commands; each is imported only when it is called, so that `--help` stays quick."""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperGroup

from api.cli.output import Failure, complain


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is, as `module:name` of a function or a Typer application, and what it does."""

    target: str
    help: str


COMMANDS: dict[str, Entry] = {
    "up": Entry("api.cli.up:up", "Run broker, API and workers in the foreground."),
    "ps": Entry("api.cli.running:ps", "Show the processes of a running `up`."),
    "init": Entry("api.cli.setup:init", "Create or find an account and a project, and mint a key for each dialect."),
    "keys": Entry("api.cli.setup:keys", "List, create, regenerate and revoke keys."),
    "account": Entry("api.cli.setup:account", "Show an account, and set its plan or its rate limits."),
    "tail": Entry("api.cli.tail:tail", "Show accepted events, or refused items, as they come."),
    "lake": Entry("api.cli.lake:lake", "Look after the lake by hand: files, history, verify, compact, restore."),
    "sql": Entry("api.cli.sql:sql", "Ask the lake one SELECT, in DuckDB."),
    "demo": Entry("api.cli.demo:demo", "Load the sample data into a running system and print what to look at."),
    "doctor": Entry("api.cli.doctor:doctor", "Check everything that Streamgauge needs, and say what to do."),
    "api": Entry("api.cli.serve:api", "Run one API process in the foreground."),
    "worker": Entry("api.cli.serve:worker", "Run one worker in the foreground."),
    "broker": Entry("api.cli.serve:broker", "Run the embedded Kafka broker in the foreground."),
    "maintain": Entry("api.cli.serve:maintain", "Run the lake's maintenance in the foreground."),
}
# Steps of other commands, not for people.
HIDDEN: dict[str, Entry] = {
    "prepare": Entry("api.cli.preparation:prepare", "Create or check topics, lake tables and metadata."),
}

_ABOUT = "Streamgauge: event analytics on an open log and an open lake."


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        status = _run(arguments)
    except Exception as error:  # the edge of the process: whatever it is, the user gets one line
        if os.environ.get("STREAMGAUGE_DEBUG") == "1":
            raise
        complain(_one_line(error))
        sys.exit(_status(error))
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(status)


def _run(arguments: list[str]) -> int:
    entry = (COMMANDS | HIDDEN).get(arguments[0]) if arguments else None
    if entry is None:
        command, name, rest = typer.main.get_command(_overview()), "streamgauge", arguments or ["--help"]
    else:
        command, name, rest = _load(arguments[0], entry), f"streamgauge {arguments[0]}", arguments[1:]
        if isinstance(command, TyperGroup):
            rest = rest or ["--help"]
    status = command.main(rest, prog_name=name, standalone_mode=False)
    return status if isinstance(status, int) else 0


def _load(name: str, entry: Entry) -> Any:
    module, _, attribute = entry.target.partition(":")
    target = getattr(importlib.import_module(module), attribute)
    if isinstance(target, typer.Typer):
        return typer.main.get_command(target)
    alone = typer.Typer(add_completion=False)
    alone.command(name, help=entry.help)(target)
    return typer.main.get_command(alone)


def _overview() -> typer.Typer:
    """All commands by name and line only: for `--help` and for names that do not exist."""
    overview = typer.Typer(add_completion=False, help=_ABOUT)
    for name, entry in COMMANDS.items():
        overview.command(name, help=entry.help)(_nothing())
    return overview


def _nothing() -> Callable[[], None]:
    def stub() -> None: ...

    return stub


def _one_line(error: Exception) -> str:
    from pydantic import ValidationError

    from storage.errors import StorageError

    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"setting {_setting_name(first['loc'])}: {first['msg']}; see `streamgauge doctor --settings`"
    if isinstance(error, typer.TyperException):
        return f"{error.format_message().rstrip('.')} (see --help)"
    if isinstance(error, typer.Abort):
        return "stopped"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    message = str(error) or type(error).__name__
    if isinstance(error, Failure | StorageError | ValueError | OSError):
        return message
    return f"unexpected {type(error).__name__}: {message}; STREAMGAUGE_DEBUG=1 shows where"


def _setting_name(location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else "?"
    return name if name.isupper() else f"STREAMGAUGE_{name.upper()}"


def _status(error: Exception) -> int:
    return error.exit_code if isinstance(error, typer.TyperException) else 1
