"""Options that several commands share, and settings as a command line changes them."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from storage.settings import StorageSettings

_Settings = TypeVar("_Settings", bound=StorageSettings)

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Data directory; by default STREAMGAUGE_DATA_DIR or ./data.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def load(kind: type[_Settings], data_dir: Path | None = None, **values: Any) -> _Settings:
    """Settings from the environment; what the command line names (is not None) goes before."""
    named = {"data_dir": data_dir} | values
    return kind(**{name: value for name, value in named.items() if value is not None})
