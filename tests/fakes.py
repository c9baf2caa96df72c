"""Doubles of the API's seams, which the conformance suites hold against the real things."""

import asyncio
from dataclasses import dataclass, field

from api.errors import Cause
from api.log.producer import MESSAGE_BYTES, Headers, NotTaken, Report
from schemas.projects import Key, Project, Role
from schemas.records import COUNT_HEADER, Segment, decode_segments
from storage.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Record:
    """What the fake log holds."""

    partition: int
    value: bytes
    headers: dict[str, str | bytes | None]

    def segments(self) -> list[Segment]:
        """Its segments, all of which must be whole."""
        count = self.headers[COUNT_HEADER]
        assert isinstance(count, bytes)
        segments = [segment for segment in decode_segments(self.value, int(count)) if isinstance(segment, Segment)]
        assert sum(segment.header.n for segment in segments) == int(count)
        return segments


class FakeProducer:
    """A LogProducer in memory. With `is_holding`, reports wait for `release`; with `failure`, they bring it."""

    def __init__(self, partitions: int = 4, most_held: int = 1000) -> None:
        self.partitions = partitions
        self.refusal: Cause | None = "starting"
        self.failure: Cause | None = None
        self.records: list[Record] = []
        self.is_holding = False
        self._most_held = most_held
        self.held: list[tuple[Record, Report]] = []

    def produce(self, partition: int, value: bytes, headers: Headers, report: Report) -> None:
        if self.refusal is not None:
            raise NotTaken(self.refusal)
        if len(value) > MESSAGE_BYTES:
            raise NotTaken("not delivered")
        if len(self.held) >= self._most_held:
            raise NotTaken("queue full")
        record = Record(partition, value, dict(headers))
        self.held.append((record, report))
        if not self.is_holding:
            asyncio.get_running_loop().call_soon(self.release)

    def release(self) -> None:
        """Deliver what is held, or fail it."""
        held, self.held = self.held, []
        for record, report in held:
            if self.failure is None:
                self.records.append(record)
            report(self.failure)

    async def start(self) -> None:
        self.refusal = None

    async def probe(self) -> str | None:
        return self.refusal

    async def stop(self, seconds: float) -> int:
        self.refusal = "stopping"
        left = 0
        if self.is_holding:
            left, self.failure = len(self.held), "not delivered"
        self.release()
        return left


@dataclass(slots=True)
class FakeKeys:
    """A KeyResolver and ProjectFinder over dictionaries; `is_down` makes both raise."""

    keys: dict[bytes, Key] = field(default_factory=dict)
    projects: dict[int, Project] = field(default_factory=dict)
    is_down: bool = False

    def peek(self, _: bytes) -> Key | None:
        return None

    def resolve(self, secret: bytes) -> Key | None:
        if self.is_down:
            raise Unavailable("the database is away")
        return self.keys.get(secret)

    def find_project(self, reference: str, account_id: int) -> tuple[Project, Role | None] | None:
        if self.is_down:
            raise Unavailable("the database is away")
        for project in self.projects.values():
            if reference in (str(project.id), project.site_id, project.website_id):
                return project, Role.OWNER if project.account_id == account_id else None
        return None
