"""What the door refused, in a small file that `streamgauge tail --rejects` reads: reasons, never payloads."""

import json
import os
import queue
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from schemas.instants import format_millis

FILE_NAME: Final = "rejects.jsonl"
# Some 30,000 refusals; the file before it is kept, so that a reader can finish it.
_MOST_BYTES: Final = 4 * 1024 * 1024
# Beyond this many between two writes, somebody sends garbage in bulk; the metrics count all of it.
_MOST_WAITING: Final = 1000


class Refusals:
    """Takes refusals from the event loop and writes them in a thread of its own; what is too much is left out."""

    def __init__(self, logs: Path, most_bytes: int = _MOST_BYTES, most_waiting: int = _MOST_WAITING) -> None:
        self._path = logs / FILE_NAME
        self._most_bytes = most_bytes
        self._waiting: queue.Queue[bytes | None] = queue.Queue(most_waiting)
        self._thread: threading.Thread | None = None

    def note(self, project: int | None, code: str, message: str, index: int = 0) -> None:
        """One refused item of a request. Never blocks."""
        line = {"at": format_millis(time.time_ns() // 1_000_000), "project": project, "index": index}
        line |= {"reason": code, "message": message}
        with suppress(queue.Full):
            self._waiting.put_nowait(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="refusals", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what waits, and end the thread."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _write_all(self) -> None:
        while (line := self._waiting.get()) is not None:
            # A full disk loses the line; the sender was told, and the metric counts it.
            with suppress(OSError):
                self._write(line)

    def _write(self, line: bytes) -> None:
        # Opened each time: the API processes of a host share the file, and any of them may have replaced it.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.fstat(descriptor).st_size > self._most_bytes:
                os.replace(self._path, self._path.with_suffix(".jsonl.1"))
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
