"""What the lake must hold for a log, in plain Python, and what it does hold, read by Polars."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from storage.sketches import PeopleUnion

Place = tuple[int, int, int]


@dataclass
class Expected:
    """The fold of the lines of one log by the book: first id wins, bad lines are rejected."""

    rows: set[Place] = field(default_factory=set)
    rejects: set[Place] = field(default_factory=set)
    duplicates: int = 0
    seen: set[tuple[int, str]] = field(default_factory=set)

    def add(self, place: Place, event_id: str | None) -> None:
        """One line; its event id, or None when it is bad."""
        if event_id is None:
            self.rejects.add(place)
        elif (place[0], event_id) in self.seen:
            self.duplicates += 1
        else:
            self.seen.add((place[0], event_id))
            self.rows.add(place)


def expect(lines: list[tuple[Place, str | None]], positions: dict[int, int]) -> Expected:
    """What the lake holds when its positions are these."""
    expected = Expected()
    for place, event_id in lines:
        if place[1] < positions.get(place[0], 0):
            expected.add(place, event_id)
    return expected


def frame(lake: Path, name: str) -> pl.DataFrame:
    """All rows of a table at its newest version."""
    files = DeltaTable(str(lake / name)).file_uris()
    return pl.read_parquet(files, hive_partitioning=False) if files else pl.DataFrame()


def places(table: pl.DataFrame) -> Counter[Place]:
    """How often each (partition, offset, index) is there."""
    if table.is_empty():
        return Counter()
    return Counter(table.select("kafka_partition", "kafka_offset", "record_index").iter_rows())


def position(lake: Path, name: str, chain: str, partition: int, total: str = "") -> int:
    """A position or a total, from a fresh handle."""
    app = f"{chain}/{partition}" + (f"#{total}" if total else "")
    return DeltaTable(str(lake / name)).transaction_version(app) or 0


def judge(lake: Path, chain: str, partitions: int, lines: list[tuple[Place, str | None]]) -> dict[int, int]:
    """Assert that the lake is what its positions say; returns the positions."""
    positions = {p: position(lake, "events", chain, p) for p in range(partitions)}
    expected = expect(lines, positions)
    events = frame(lake, "events")
    assert places(events) == Counter(expected.rows)
    letters = places(frame(lake, "dead_letters"))
    assert all(number == 1 for number in letters.values()), "a dead letter is there twice"
    assert {place for place in letters if place[1] < positions[place[0]] and place[2] >= 0} == expected.rejects
    totals = {
        name: sum(position(lake, "events", chain, p, name) for p in range(partitions))
        for name in ("lines", "rows", "rejects", "duplicates")
    }
    assert totals == {
        "lines": len(expected.rows) + len(expected.rejects) + expected.duplicates,
        "rows": len(expected.rows),
        "rejects": len(expected.rejects),
        "duplicates": expected.duplicates,
    }
    if all(position(lake, "rollups", chain, p) == positions[p] for p in range(partitions)):
        judge_rollups(events, frame(lake, "rollups"))
    return positions


def judge_rollups(events: pl.DataFrame, rollups: pl.DataFrame) -> None:
    """Assert that rollups add up to the rows."""
    counts: Counter[tuple[object, ...]] = Counter()
    people: dict[tuple[object, ...], set[str]] = {}
    if not events.is_empty():
        rows = events.filter(~pl.col("is_bot") & ~pl.col("is_system"))
        for project, at, event, person in rows.select("project_id", "timestamp", "event", "distinct_id").iter_rows():
            key = (project, at.replace(minute=0, second=0, microsecond=0), event)
            counts[key] += 1
            people.setdefault(key, set()).update({person} - {""})
    found: Counter[tuple[object, ...]] = Counter()
    sketches: dict[tuple[object, ...], PeopleUnion] = {}
    if not rollups.is_empty():
        for project, hour, event, number, sketch in rollups.select(
            "project_id", "hour", "event", "count", "people"
        ).iter_rows():
            key = (project, hour, event)
            found[key] += number
            sketches.setdefault(key, PeopleUnion()).merge(sketch)
    assert found == counts
    assert {key: union.estimate for key, union in sketches.items()} == {key: len(ids) for key, ids in people.items()}
