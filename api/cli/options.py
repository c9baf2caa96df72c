"""Options that several commands share, and settings as a command line changes them."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError

from storage.settings import StorageSettings

_Settings = TypeVar("_Settings", bound=StorageSettings)

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Data directory; by default STREAMGAUGE_DATA_DIR or ./data.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def load(kind: type[_Settings], data_dir: Path | None = None, **values: Any) -> _Settings:
    """Settings from the environment; what the command line names (is not None) goes before.

    Raises BadParameter for an impossible option, ValidationError for an impossible variable.
    """
    named = {name: value for name, value in ({"data_dir": data_dir} | values).items() if value is not None}
    try:
        return kind(**named)
    except ValidationError as error:
        for problem in error.errors():
            name = str(problem["loc"][0])
            if name in named:
                raise typer.BadParameter(problem["msg"], param_hint=f"'--{name.replace('_', '-')}'") from error
        raise
