"""The country of an address, from a MaxMind-format file where one is configured."""

from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

import maxminddb


class CountriesUnreadable(Exception):
    """The configured country file cannot be used; the message says why and what to do."""


class Countries:
    """Looks up countries; without a file every answer is None."""

    def __init__(self, path: Path | None) -> None:
        self._reader = _open(path) if path is not None else None

    def code(self, address: str | None) -> str | None:
        """ISO 3166 alpha-2 of an address; None for an unknown one or no file."""
        if self._reader is None or address is None:
            return None
        try:
            found = self._reader.get(ip_address(address))
        except (ValueError, maxminddb.InvalidDatabaseError):
            return None
        country = found.get("country") if isinstance(found, dict) else None
        code = country.get("iso_code") if isinstance(country, dict) else None
        return code if isinstance(code, str) and len(code) == 2 else None

    def close(self) -> None:
        """Release the file; look-ups afterwards find nothing."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(path: Path) -> maxminddb.Reader:
    advice = "name a MaxMind DB file (.mmdb), or unset the setting to go without countries"
    try:
        return maxminddb.open_database(path)
    except OSError as error:
        raise CountriesUnreadable(f"country file {path}: {error.strerror or error}; {advice}") from error
    except (maxminddb.InvalidDatabaseError, ValueError) as error:
        raise CountriesUnreadable(f"country file {path} is not a MaxMind database; {advice}") from error
