"""Events to send: seeded, never the same twice, in two sizes and four kinds of body."""

import gzip
import random
import time
from collections.abc import Callable
from typing import Final, Literal

import zstandard

Shape = Literal["narrow", "web"]
Encoding = Literal["array", "ndjson", "gzip", "zstd"]

_NAMES: Final = ("signup", "checkout", "search", "play", "pause", "share", "export", "invite")
_PLANS: Final = ("free", "team", "business")
_AGENTS: Final = tuple(
    f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
    for system in ("Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "X11; Linux x86_64")
    for version in range(120, 132)
)
_REFERRERS: Final = ("https://www.google.com/search?q=x", "https://news.ycombinator.com/", "https://t.co/a1b2c3")
_PEOPLE: Final = 100_000
# Events are as old as a client's buffer.
_AGE_MILLIS: Final = 10_000


class Workload:
    """A stream of events; two with the same seed and shape differ in their instants only."""

    def __init__(self, seed: int, shape: Shape) -> None:
        self._chance = random.Random(seed)
        self._prefix = f"{seed & 0xFFFFFFFF:08x}"
        self._number = 0
        self._second = 0
        self._text = ""
        self._make: Callable[[float, int], str] = self._narrow if shape == "narrow" else self._web

    def event(self) -> bytes:
        """The JSON of the next event: 160-230 bytes narrow, 450-550 bytes web."""
        chance = self._chance.random()
        return self._make(chance, int(chance * 2**40)).encode()

    def batch(self, events: int, encoding: Encoding = "array") -> bytes:
        """The body of a batch."""
        items = [self.event() for _ in range(events)]
        if encoding == "ndjson":
            return b"\n".join(items) + b"\n"
        body = b"[" + b",".join(items) + b"]"
        if encoding == "gzip":
            return gzip.compress(body, 6)
        return zstandard.compress(body, 3) if encoding == "zstd" else body

    def _head(self, bits: int, name: str) -> str:
        self._number += 1
        at = time.time_ns() // 1_000_000 - bits % _AGE_MILLIS
        second, millis = divmod(at, 1000)
        if second != self._second:
            self._second, self._text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return (
            f'{{"event":"{name}","userId":"user-{bits % _PEOPLE:06d}",'
            f'"eventId":"{self._prefix}{self._number:08x}{bits:016x}",'
            f'"timestamp":"{self._text}.{millis:03d}Z"'
        )

    def _narrow(self, chance: float, bits: int) -> str:
        return (
            f"{self._head(bits, _NAMES[bits & 7])},"
            f'"properties":{{"plan":"{_PLANS[bits % 3]}","value":{chance * 500:.2f},"items":{bits % 17}}}}}'
        )

    def _web(self, chance: float, bits: int) -> str:
        path = f"/catalogue/{bits % 211}/article-{bits % 1009}"
        campaign = f"?utm_source=news&utm_medium=email&utm_campaign=c{bits % 13}" if bits & 3 == 0 else ""
        return (
            f"{self._head(bits, 'page_view' if bits & 7 else _NAMES[bits % 5])},"
            f'"anonymousId":"anon-{bits % 99991:08x}",'
            f'"sessionId":"s-{bits:010x}","context":{{"url":"https://shop.example.com{path}{campaign}",'
            f'"title":"Article {bits % 1009}","referrer":"{_REFERRERS[bits % 3]}",'
            f'"userAgent":"{_AGENTS[bits % len(_AGENTS)]}"}},'
            f'"properties":{{"price":{chance * 500:.2f},"items":{bits % 17}}}}}'
        )
