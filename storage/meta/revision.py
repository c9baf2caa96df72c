"""The counter of key changes that every process of a host reads on each request."""

import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_SIZE: Final = 8


class KeyRevision:
    """Eight bytes, little-endian, in a file that all processes map; it only grows.

    `read` costs a memory read and never blocks. `bump` is safe from any thread and process. The file is never
    truncated or replaced, since a process that mapped it would die of SIGBUS or keep reading the old one.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._path = path
            if os.fstat(self._file).st_size < _SIZE:
                os.ftruncate(self._file, _SIZE)  # grows with zeros; two processes doing so at once do no harm
            self._map = mmap.mmap(self._file, _SIZE)
        except BaseException:
            os.close(self._file)
            raise

    def read(self) -> int:
        """The number of key changes so far."""
        return int.from_bytes(self._map[:_SIZE], "little")

    def bump(self) -> None:
        """Count one change; call it after the change is committed, so that a reader who sees it finds the new row."""
        with self.locked():
            self._map[:_SIZE] = (self.read() + 1).to_bytes(_SIZE, "little")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude all other threads and processes of the host that ask for the same; blocks, so hold it briefly."""
        # A descriptor of its own: flock belongs to the open file, so threads sharing one would not exclude each other.
        file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def close(self) -> None:
        """Unmap the file; safe to repeat."""
        if not self._map.closed:
            self._map.close()
            os.close(self._file)
