"""An S3-compatible store as Arrow and DuckDB read it; loaded only where a lake is in one.

delta-rs takes the AWS_* variables from the environment by itself. Of these Arrow finds the keys by itself too, and
is told the others here, so that what writes and what reads are at the same store.
"""

import os
from functools import cache
from typing import Any

from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow import fs

# A store that is away must be told as such, not waited for: writers and callers try again themselves.
_CONNECT_SECONDS = 5.0
_REQUEST_SECONDS = 30.0
_ATTEMPTS = 3
# Sizes and times of data files, which never change under their names.
_KNOWN_FILES = 20_000


@cache
def store() -> fs.S3FileSystem:
    """The store that the environment names; one client for the process."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    scheme, _, host = endpoint.rpartition("://")
    return fs.S3FileSystem(
        endpoint_override=host.rstrip("/") or None,
        scheme=scheme or "https",
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        force_virtual_addressing=os.environ.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "").lower() == "true",
        connect_timeout=_CONNECT_SECONDS,
        request_timeout=_REQUEST_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
    )


def listing(prefix: str) -> list[str]:
    """Names of the objects and prefixes directly below a prefix. Raises FileNotFoundError."""
    return [found.base_name for found in store().get_file_info(fs.FileSelector(prefix))]


def object_sizes(keys: list[str]) -> list[int | None]:
    """The size of each object, None where there is none; asked for side by side."""
    return [found.size if found.type is fs.FileType.File else None for found in store().get_file_info(keys)]


class DuckFiles(ArrowFSWrapper):  # type: ignore[misc]  # the library is untyped
    """The store for DuckDB, through Arrow. Only reads, and only what is named: data files never change."""

    protocol = "s3"
    cachable = False

    def __init__(self) -> None:
        super().__init__(store())
        self._known: dict[str, dict[str, Any]] = {}

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Size and time of an object. Raises FileNotFoundError."""
        if (found := self._known.get(path)) is None:
            found = super().info(path, **options)
            if len(self._known) >= _KNOWN_FILES:
                self._known.clear()
            if path.endswith(".zstd.parquet"):
                self._known[path] = found
        return found

    def modified(self, path: str) -> Any:
        return self.info(path)["mtime"]
