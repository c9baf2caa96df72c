"""Answers of the live view as bytes, encoded once per change and not per poll."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b

import msgspec

from api.live.partitions import State
from api.live.slots import slot_at
from api.live.view import ERROR, LiveView
from api.middleware import CORS_HEADERS

# An answer is reused at least so long: a poll sees a change this much later at worst.
_SHORTEST_MILLIS = 100
# And at most so long, however many projects are polled.
_LONGEST_MILLIS = 1000
# One answer costs 0.1 to 1 ms to make. With a millisecond of reuse for each that is polled, making them takes a share
# of the process that does not grow with the number of dashboards.
_MILLIS_PER_ENTRY = 1
_UNPOLLED_MILLIS = 10_000
_HEADERS = (
    (b"cache-control", b"private, no-cache"),
    (b"vary", b"X-API-Key, Authorization"),
    (b"streamgauge-accuracy", f"sketch; error={ERROR:.3f}".encode()),
    (b"streamgauge-timezone", b"UTC"),
    *CORS_HEADERS,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One encoded answer; the tag stays while the figures do, though `asOf` moves on."""

    body: bytes
    tag: bytes
    # All of its headers, content type and length included; and those of a 304.
    headers: list[tuple[bytes, bytes]]
    unchanged_headers: list[tuple[bytes, bytes]]


@dataclass(slots=True)
class _Entry:
    version: int = -1
    slot: int = -1
    state: State | None = None
    recent: bytes = b""
    figures: bytes = b""
    answer: Answer = field(default_factory=lambda: Answer(b"", b"", [], []))
    valid_until: int = 0


class Answers:
    """The current answer for each project and window that is polled."""

    def __init__(self, view: LiveView, recent: Callable[[int], bytes], now: Callable[[], float] = time.time) -> None:
        """`recent` gives a project's latest events as JSON, at once."""
        self._view = view
        self._recent = recent
        self._now = now
        self._entries: dict[tuple[int, int], _Entry] = {}
        self._swept = 0

    def get(self, project: int, minutes: int) -> Answer:
        """What is known now, at most a second old."""
        now = int(self._now() * 1000)
        entry = self._entries.get((project, minutes))
        if entry is not None and now < entry.valid_until:
            return entry.answer
        return self._refresh(project, minutes, now)

    def _refresh(self, project: int, minutes: int, now: int) -> Answer:
        self._sweep(now)
        entry = self._entries.setdefault((project, minutes), _Entry())
        version = self._view.version(project)
        slot = slot_at(self._view.instant(now) // 1000)
        freshness = self._view.freshness(now)
        recent = self._recent(project)
        if (version, slot) != (entry.version, entry.slot):
            entry.figures = msgspec.json.encode(self._view.figures(project, now, minutes))
            entry.version, entry.slot, entry.state = version, slot, None
        tag = entry.answer.tag
        if (freshness.state, recent) != (entry.state, entry.recent):
            tag = _tag(entry.figures, recent, freshness.state)
            entry.state, entry.recent = freshness.state, recent
        body = b'%b,"recent":%b,%b' % (entry.figures[:-1], recent, msgspec.json.encode(freshness)[1:])
        entry.answer = _dressed(body, tag, freshness.as_of)
        entry.valid_until = now + min(max(_SHORTEST_MILLIS, len(self._entries) * _MILLIS_PER_ENTRY), _LONGEST_MILLIS)
        return entry.answer

    def _sweep(self, now: int) -> None:
        if now - self._swept < _UNPOLLED_MILLIS:
            return
        self._swept = now
        self._entries = {
            place: entry for place, entry in self._entries.items() if now - entry.valid_until < _UNPOLLED_MILLIS
        }


def _dressed(body: bytes, tag: bytes, as_of: str | None) -> Answer:
    unchanged = [(b"etag", tag), *_HEADERS]
    if as_of is not None:
        unchanged.append((b"streamgauge-watermark", as_of.encode()))
    length = (b"content-length", b"%d" % len(body))
    return Answer(body, tag, [(b"content-type", b"application/json"), length, *unchanged], unchanged)


def _tag(figures: bytes, recent: bytes, state: State) -> bytes:
    digest = blake2b(figures, digest_size=8)
    digest.update(recent)
    digest.update(state.encode())
    return b'W/"%b"' % digest.hexdigest().encode()
