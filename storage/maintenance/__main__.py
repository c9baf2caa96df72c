"""`python -m storage.maintenance --name maintain`: the maintenance process."""

import argparse
import logging
import os
import sys

from deltalake.exceptions import DeltaError
from pydantic import ValidationError

from storage.errors import StorageError
from storage.lake.durability import NotDurable
from storage.logs import configure_logging
from storage.maintenance.process import DISK_FAILED, run
from storage.maintenance.settings import MaintenanceSettings

log = logging.getLogger(__name__)


def main() -> int:
    """Run until SIGTERM; 70 when the disk failed, 1 when there is no lake to maintain."""
    parser = argparse.ArgumentParser(prog="python -m storage.maintenance", description=__doc__)
    parser.add_argument("--name", default="maintain", help="name in logs, metrics and `streamgauge ps`")
    name = parser.parse_args().name
    try:
        settings = MaintenanceSettings()
    except ValidationError as error:
        print(f"streamgauge {name}: {_setting(error)}", file=sys.stderr)
        return 1
    os.umask(0o027 if settings.lake_group_readable else 0o077)
    configure_logging(name, settings.directory.create().logs)
    try:
        run(settings, name)
    except (StorageError, DeltaError, OSError) as error:
        log.critical("maintenance ends", extra={"reason": str(error)})
        print(f"streamgauge {name}: {' '.join(str(error).split())}", file=sys.stderr)
        return DISK_FAILED if isinstance(error, NotDurable) else 1
    return 0


def _setting(error: ValidationError) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0])
    return f"{name if name.isupper() else 'STREAMGAUGE_' + name.upper()}: {first['msg']}"


if __name__ == "__main__":
    sys.exit(main())
