"""`python -m api`: one API process, configured by its environment."""

import argparse
import socket
import sys
from pathlib import Path

from api.ingest.countries import CountriesUnreadable
from api.server import serve
from api.settings import ApiSettings
from storage.errors import StorageError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m api", description="One Streamgauge API process.")
    parser.add_argument("--name", default="api", help="its name in logs and in the run directory")
    parser.add_argument("--fd", type=int, help="a bound socket to serve on, inherited from the parent")
    parser.add_argument("--logs", type=Path, help="directory of the log files; stderr without it")
    arguments = parser.parse_args()
    listener = socket.socket(fileno=arguments.fd) if arguments.fd is not None else None
    try:
        return serve(ApiSettings(), arguments.name, listener, arguments.logs)
    except (OSError, ValueError, CountriesUnreadable, StorageError) as error:
        print(f"api: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
