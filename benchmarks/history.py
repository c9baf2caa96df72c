"""A month of visits in a lake as maintenance leaves it: sorted days, their rollups, their stored sessions."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.transaction import AddAction, RemoveAction

from schemas.windows import TimeRange
from storage.lake.place import Place
from storage.lake.rollups import partials
from storage.lake.tables import EVENTS, ROLLUP_GROUP_ROWS, SORTED_GROUP_ROWS, TableName, create_tables, table_uri
from storage.maintenance.files import DateFiles
from storage.maintenance.merging import Resources
from storage.maintenance.policy import MergePolicy
from storage.maintenance.sessions import store_next

FIRST_DAY: Final = date(2026, 3, 1)
DAYS: Final = 30
SPAN: Final = TimeRange(
    datetime(2026, 3, 1, tzinfo=UTC),
    datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=DAYS),
)
PROJECTS: Final = 64
# Visits are of six events on average, half a minute or so apart.
_EVENTS_A_VISIT: Final = 6
_MOST_GAP_MICROS: Final = 120_000_000
_VISITS_A_PERSON: Final = 4
_PATHS: Final = 500
_EVENTS: Final = ("pageview",) * 7 + ("signup", "search", "buy")
_BROWSERS: Final = ("Chrome", "Safari", "Firefox", "Edge", "Opera")
_COUNTRIES: Final = ("DE", "US", "FR", "GB", "IN", "BR", "JP", "NL", "PL", "ES")
_DEVICES: Final = ("desktop", "mobile", "tablet")
_CHANNELS: Final = ("direct", "search", "social", "referral", "paid")
_PLANS: Final = ("free", "team", "business")
_REFERRERS: Final = (None, "google.com", "news.ycombinator.com", "t.co", "duckduckgo.com")


def build(lake: Path, events: int, seed: int = 1) -> int:
    """Make the tables and fill them; how many events there are."""
    create_tables(lake)
    chance = np.random.default_rng(seed)
    written: dict[TableName, list[AddAction | RemoveAction]] = {"events": [], "rollups": []}
    rows = 0
    for number in range(DAYS):
        table = _day(chance, number, events // DAYS, events)
        rows += len(table)
        written["events"] += _write(lake, "events", table)
        written["rollups"] += _write(lake, "rollups", partials(table))
    _commit(lake, written)
    while store_next(lake, SPAN.end + timedelta(days=3), MergePolicy(), Resources()) is not None:
        pass
    return rows


def flush(lake: Path, seed: int) -> None:
    """What a worker commits every few seconds: some events of the last day, of a project that nobody asks about."""
    table = _day(np.random.default_rng(seed), DAYS - 1, _EVENTS_A_VISIT, _EVENTS_A_VISIT)
    nobody = pa.repeat(pa.scalar(PROJECTS + 1), len(table))
    table = table.set_column(table.column_names.index("project_id"), table.schema.field("project_id"), nobody)
    _commit(lake, {"events": [*_write(lake, "events", table)], "rollups": [*_write(lake, "rollups", partials(table))]})


def _commit(lake: Path, written: Mapping[TableName, list[AddAction | RemoveAction]]) -> None:
    for name, actions in written.items():
        handle = DeltaTable(table_uri(lake, name))
        handle.create_write_transaction(
            actions, "append", handle.schema(), ["date"], commit_properties=CommitProperties()
        )


def _write(lake: Place, name: TableName, table: pa.Table) -> Sequence[AddAction]:
    writer = DateFiles(lake / name, name, table.schema, "sorted")
    writer.write(table.to_batches(ROLLUP_GROUP_ROWS if name == "rollups" else SORTED_GROUP_ROWS))
    return writer.written


def _day(chance: np.random.Generator, number: int, events: int, all_events: int) -> pa.Table:
    """The events of one day, sorted as maintenance sorts them."""
    visits = max(1, events // _EVENTS_A_VISIT)
    lengths = chance.integers(1, 2 * _EVENTS_A_VISIT, visits)
    of_visit = np.repeat(np.arange(visits), lengths)
    size = len(of_visit)
    gaps = chance.integers(1_000_000, _MOST_GAP_MICROS, size)
    gone = np.cumsum(gaps)
    first = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    begun = chance.integers(0, 86_400_000_000 - 2 * _EVENTS_A_VISIT * _MOST_GAP_MICROS, visits)
    day = FIRST_DAY + timedelta(days=number)
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000
    instants = midnight + begun[of_visit] + gone - gone[first][of_visit]
    projects = chance.integers(1, PROJECTS + 1, visits)[of_visit]
    people = chance.integers(0, max(1, all_events // _EVENTS_A_VISIT // _VISITS_A_PERSON), visits)[of_visit]
    paths = (_PATHS * chance.random(size) ** 3).astype(np.int64)
    kinds = chance.integers(0, len(_EVENTS), size)
    order = np.lexsort((instants, projects))
    ids = number * 10_000_000 + np.arange(size)

    def taken(values: Sequence[Any], index: np.ndarray[Any, Any]) -> pa.Array:
        return pa.array(values, pa.string()).take(pa.array(index[order]))

    def by_visit(values: Sequence[Any]) -> pa.Array:
        return taken(values, chance.integers(0, len(values), visits)[of_visit])

    names = [f"/p/{path}" for path in range(_PATHS)]
    pages = np.array([name == "pageview" for name in _EVENTS])[kinds]
    properties = [json.dumps({"plan": plan, "amount": amount}) for plan in _PLANS for amount in range(50)]
    known: dict[str, pa.Array] = {
        "project_id": pa.array(projects[order]),
        "event_id": pa.array([f"e{number:09d}" for number in ids]),
        "event": taken(_EVENTS, kinds),
        "distinct_id": taken([f"user-{person:07d}" for person in range(people.max() + 1)], people),
        "session_id": taken([f"{number}-{visit}" for visit in range(visits)], of_visit),
        "timestamp": pa.array(instants[order], pa.timestamp("us", tz="UTC")),
        "received_at": pa.array(instants[order], pa.timestamp("us", tz="UTC")),
        "date": pa.repeat(pa.scalar(day), size),
        "source": pa.repeat("http", size),
        "is_pageview": pa.array(pages[order]),
        "is_system": pa.array(np.zeros(size, bool)),
        "is_bot": pa.array(np.zeros(size, bool)),
        "properties": taken(properties, chance.integers(0, len(properties), size)),
        "path": taken(names, paths),
        "referrer_domain": by_visit(_REFERRERS),
        "channel": by_visit(_CHANNELS),
        "country": by_visit(_COUNTRIES),
        "browser": by_visit(_BROWSERS),
        "device": by_visit(_DEVICES),
        "kafka_partition": pa.array(np.zeros(size, np.int32)),
        "kafka_offset": pa.array(ids),
        "record_index": pa.array(np.zeros(size, np.int32)),
        "kafka_log": pa.repeat("bench", size),
    }
    columns = [known[field.name] if field.name in known else pa.nulls(size, field.type) for field in EVENTS]
    return pa.table(columns, schema=EVENTS)
