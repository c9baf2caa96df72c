"""All settings by their names in the environment, as `doctor --settings` and the README list them."""

import importlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

# By name: this side never imports the workers, whose settings are listed all the same.
_CLASSES: Final = (
    ("all processes", "storage.settings", "StorageSettings"),
    ("broker", "api.cli.embedded", "BrokerSettings"),
    ("API, workers", "storage.settings", "EventLimitSettings"),
    ("API", "api.settings", "ApiSettings"),
    ("workers", "processors.settings", "WorkerSettings"),
    ("maintenance", "storage.maintenance.settings", "MaintenanceSettings"),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as a user meets it."""

    process: str
    name: str
    default: str
    description: str

    def to_json(self) -> Mapping[str, str]:
        """For programs."""
        return asdict(self)


def list_settings() -> list[Setting]:
    """Every setting once, with the processes that read it."""
    found: dict[str, Setting] = {}
    for process, module, name in _CLASSES:
        kind: type[BaseSettings] = getattr(importlib.import_module(module), name)
        for field, info in kind.model_fields.items():
            first = found.get(field)
            if first is None:
                found[field] = Setting(process, _variable(kind, field, info), _default(info), info.description or "")
            elif field in kind.__annotations__:  # read by one more, not merely inherited
                found[field] = replace(first, process=f"{first.process}, {process}")
    return list(found.values())


def _variable(kind: type[BaseSettings], field: str, info: FieldInfo) -> str:
    if isinstance(info.validation_alias, str):
        return info.validation_alias
    return f"{kind.model_config.get('env_prefix', '')}{field}".upper()


def _default(info: FieldInfo) -> str:
    value: Any = info.get_default(call_default_factory=True)
    if value is None or isinstance(value, SecretStr):
        return ""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
