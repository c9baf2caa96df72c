"""A producer as any other: batches over HTTP, several in flight, sent again until they are accepted."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Final, Self
from urllib.parse import urlencode, urlsplit

import msgspec

from api.cli.output import Failure

BATCH_EVENTS: Final = 1000
# More would only queue at the door; fewer leaves it waiting for the next batch.
_IN_FLIGHT: Final = 4
# A log that takes nothing for so long does not come back by itself.
_PATIENCE_SECONDS: Final = 60.0
_ANSWER_SECONDS: Final = 30.0

_BATCH_PATH: Final = "/api/v1/events/batch"


class Door:
    """One connection with one key; for one thread."""

    def __init__(self, url: str, key: str, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Failure(f"{url!r} is no address of an API; write one like http://127.0.0.1:8000")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=_ANSWER_SECONDS)
        self._prefix = parts.path.rstrip("/")
        self._headers = {"X-API-Key": key, "User-Agent": "streamgauge-demo", "Content-Type": "application/json"}
        self._patience_seconds = patience_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def send(self, events: Sequence[Any]) -> str:
        """Returns `receivedAt` once all are accepted; raises Failure when one is refused, or the door takes none."""
        _, answer = self._insist("POST", _BATCH_PATH, msgspec.json.encode(events))
        if answer["errors"]:
            first = answer["errors"][0]
            raise Failure(f"{answer['rejected']} events were refused, the first: {first['message']}")
        return str(answer["receivedAt"])

    def ask(self, path: str, **parameters: str | int) -> tuple[Any, Any]:
        """Headers and body of a question."""
        return self._insist("GET", f"{path}?{urlencode(parameters)}" if parameters else path, None)

    def _insist(self, method: str, path: str, body: bytes | None) -> tuple[Any, Any]:
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                self._connection.request(method, self._prefix + path, body, self._headers)
                answer = self._connection.getresponse()
                content = answer.read()
                status, wait = answer.status, float(answer.headers.get("Retry-After", 1))
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()  # half an answer may be on it
                status, content, wait = 0, f"{error or type(error).__name__}".encode(), 1.0
            if status == 200:
                return answer.headers, json.loads(content)
            reason = " ".join(content.decode(errors="replace").split())[:200]
            # 401: a key that was just made may not be known yet.
            if status not in (0, 401, 429, 503):
                raise Failure(f"{method} {path} was answered {status}: {reason}")
            if time.monotonic() + wait > deadline:
                raise Failure(f"{method} {path} had no answer for {self._patience_seconds:.0f} s: {status} {reason}")
            time.sleep(wait)


def send_all(url: str, key: str, events: Iterable[Any], delivered: Callable[[int], None]) -> str:
    """Send all in batches, several at once; returns the latest `receivedAt`, empty when there was nothing to send.

    `delivered` hears how many were accepted, from several threads. A failure ends the others after their batch.
    """
    source = _Batches(events)

    def drain() -> str:
        latest = ""
        try:
            with Door(url, key) as door:
                for batch in source:
                    latest = max(latest, door.send(batch))
                    delivered(len(batch))
        except BaseException:
            source.stop()
            raise
        return latest

    with ThreadPoolExecutor(_IN_FLIGHT) as pool:
        senders = [pool.submit(drain) for _ in range(_IN_FLIGHT)]
        try:
            return max(sender.result() for sender in senders)
        finally:
            source.stop()  # whoever waits was interrupted


class _Batches:
    """An iterator that several threads draw from."""

    def __init__(self, events: Iterable[Any]) -> None:
        self._events = iter(events)
        self._lock = threading.Lock()
        self._is_stopped = False

    def __iter__(self) -> Iterator[list[Any]]:
        while batch := self._next():
            yield batch

    def _next(self) -> list[Any]:
        with self._lock:
            return [] if self._is_stopped else list(islice(self._events, BATCH_EVENTS))

    def stop(self) -> None:
        self._is_stopped = True
