"""Judges what a sink wrote against what was sent. Shares no code with the product, only Polars and delta-rs."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

Place = tuple[int, int, int]


@dataclass
class Sent:
    """What went into the log: ids once or more, and the places of lines that are no events."""

    ids: Counter[tuple[int, str]] = field(default_factory=Counter)  # (project, event id): times sent
    bad: set[Place] = field(default_factory=set)

    @property
    def lines(self) -> int:
        return self.ids.total() + len(self.bad)

    @property
    def duplicates(self) -> int:
        return self.ids.total() - len(self.ids)


def check_rows(rows: pl.DataFrame, sent: Sent) -> list[str]:
    """I1 and I2: every id that was sent is there once, and no place twice; what is wrong, one line each."""
    found: Counter[tuple[int, str]] = Counter()
    places: Counter[Place] = Counter()
    if not rows.is_empty():
        found.update(rows.select("project_id", "event_id").iter_rows())
        if "kafka_offset" in rows.columns:  # a naive sink does not know it
            places.update(rows.select("kafka_partition", "kafka_offset", "record_index").iter_rows())
    wrong = {
        "ids lost": len(sent.ids.keys() - found.keys()),
        "ids nobody sent": len(found.keys() - sent.ids.keys()),
        "rows too many": sum(number - 1 for number in found.values()),
        "places twice": sum(number - 1 for number in places.values()),
    }
    return [f"{what}: {number}" for what, number in wrong.items() if number]


def check_lake(lake: Path, chain: str, ends: dict[int, int], sent: Sent) -> list[str]:
    """I1 to I4 of a drained lake whose log ends at `ends`; what is wrong, one line each."""
    events = DeltaTable(str(lake / "events"))
    rows = read(events)
    wrong = check_rows(rows, sent)
    letters = read(DeltaTable(str(lake / "dead_letters")))
    columns = ["kafka_partition", "kafka_offset", "record_index"]
    places = Counter(letters.select(columns).iter_rows() if len(letters) else [])
    if places != Counter(sent.bad):
        lost, more = len(sent.bad - places.keys()), places.total() - len(sent.bad & places.keys())
        wrong.append(f"dead letters: {lost} lost, {more} too many")
    for name in ("events", "rollups"):
        table = DeltaTable(str(lake / name))
        stand = {p: table.transaction_version(f"{chain}/{p}") or 0 for p in ends}
        if stand != ends:
            wrong.append(f"{name} stand at {stand}, the log ends at {ends}")
    totals = {
        name: sum(events.transaction_version(f"{chain}/{p}#{name}") or 0 for p in ends)
        for name in ("lines", "rows", "rejects", "duplicates")
    }
    expected = {
        "lines": sent.lines,
        "rows": len(sent.ids),
        "rejects": len(sent.bad),
        "duplicates": sent.duplicates,
    }
    if totals != expected:
        wrong.append(f"totals are {totals}, should be {expected}")
    wrong += check_rollups(rows, read(DeltaTable(str(lake / "rollups"))))
    for name in ("events", "rollups", "dead_letters"):
        wrong += check_files(lake / name)
    return wrong


def check_rollups(rows: pl.DataFrame, rollups: pl.DataFrame) -> list[str]:
    """I4: counts of rollups equal counts of rows."""
    by = ["project_id", "hour", "event"]
    counted = (
        rows.filter(~pl.col("is_bot") & ~pl.col("is_system"))
        .with_columns(hour=pl.col("timestamp").dt.truncate("1h"))
        .group_by(by)
        .agg(pl.len().cast(pl.Int64).alias("count"))
        if len(rows)
        else pl.DataFrame()
    )
    summed = rollups.group_by(by).agg(pl.col("count").sum()) if len(rollups) else pl.DataFrame()
    if counted.is_empty() and summed.is_empty():
        return []
    if counted.is_empty() or summed.is_empty() or not counted.sort(by).equals(summed.sort(by)):
        return [f"rollups differ from rows: {len(summed)} groups for {len(counted)}"]
    return []


def check_files(table: Path) -> list[str]:
    """I3: no log entry is missing, and every live file has the size that the log says."""
    entries = sorted(int(path.stem) for path in (table / "_delta_log").glob("*.json") if path.stem.isdigit())
    wrong = [] if entries == list(range(entries[0], entries[-1] + 1)) else [f"{table.name}: log entries are missing"]
    actions = DeltaTable(str(table)).get_add_actions(flatten=True)
    for path, size in zip(actions["path"].to_pylist(), actions["size_bytes"].to_pylist(), strict=True):
        if (table / path).stat().st_size != size:
            wrong.append(f"{table.name}: {path} has another size than logged")
    return wrong


def read(table: DeltaTable) -> pl.DataFrame:
    """All rows of a table's version."""
    files = table.file_uris()
    return pl.read_parquet(files, hive_partitioning=False) if files else pl.DataFrame()


def read_naive(folder: Path) -> pl.DataFrame:
    """What the naive sink wrote."""
    files = sorted(folder.glob("*.parquet"))
    return pl.read_parquet(files) if files else pl.DataFrame()


def log_lines(path: Path, message: str) -> list[dict[str, object]]:
    """Lines of a process' log with this message: the proof that a fault bit."""
    found: Iterable[dict[str, object]] = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
    return [line for line in found if line["message"] == message]
