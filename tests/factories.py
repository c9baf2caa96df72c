"""Rows and lakes for tests, written through the same fence as the workers'."""

import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from schemas.instants import to_millis
from schemas.rows import Row, WebFields
from storage.lake.columns import merged, rows_table
from storage.lake.commit import FencedTable, Span
from storage.lake.rollups import catch_up
from storage.lake.tables import create_tables

CHAIN = "cluster/topic"
_places = itertools.count()


def event_row(
    at: datetime | str,
    distinct_id: str = "",
    event: str = "click",
    *,
    project: int = 1,
    session: str | None = None,
    properties: bytes = b"{}",
    identified_by: str | None = "user",
    source: str = "api",
    event_id: str | None = None,
    is_bot: bool = False,
    is_system: bool = False,
    is_pageview: bool | None = None,
    place: tuple[int, int, int] | None = None,
) -> Row:
    """One row with a place of its own on partition 0, whose offsets rise with each call."""
    instant = datetime.fromisoformat(at) if isinstance(at, str) else at
    instant = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
    partition, offset, index = place or (0, next(_places), 0)
    return Row(
        project_id=project,
        event_id=event_id or f"evt_{partition}_{offset}_{index}",
        event=event,
        distinct_id=distinct_id,
        identified_by=identified_by if distinct_id else None,
        anonymous_id=None,
        session_id=session,
        timestamp=to_millis(instant),
        received_at=to_millis(instant),
        source=source,
        is_pageview=event in ("page_view", "$pageview", "pageview") if is_pageview is None else is_pageview,
        is_system=is_system,
        properties=properties,
        context=None,
        web=WebFields(is_bot=is_bot, bot_rule="test" if is_bot else None),
        kafka_partition=partition,
        kafka_offset=offset,
        record_index=index,
    )


class LakeWriter:
    """Appends rows to the events table of a new lake and, unless told not to, their rollups."""

    def __init__(self, place: Path, chain: str = CHAIN) -> None:
        create_tables(place)
        self.place = place
        self.events = FencedTable(place, "events", chain)
        self.rollups = FencedTable(place, "rollups", chain)

    def append(self, rows: Sequence[Row], *, with_rollups: bool = True, last_timestamp: int = 0) -> None:
        """One flush: rows, positions after their highest offsets, then partials."""
        spans = {
            partition: Span(self.events.position(partition), 1 + max(offsets))
            for partition, offsets in _offsets(rows).items()
        }
        table = merged([rows_table(rows)])
        totals = {f"{self.events.app(partition)}#last_ts": last_timestamp for partition in spans}
        assert self.events.append(table, spans, totals, "test") is None
        self.events.reload()
        if with_rollups:
            self.rollups.reload()
            assert catch_up(self.rollups, self.events, spans, None) is None
            self.rollups.reload()


def _offsets(rows: Iterable[Row]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for row in rows:
        found.setdefault(row.kafka_partition, []).append(row.kafka_offset)
    return found
