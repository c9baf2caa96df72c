"""What the running system says about the flights, beside what the file says and what is publicly known of it."""

import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from api.cli.output import Failure
from api.demo.door import Door
from api.demo.flights import EVENT, FIRST_DAY, LAST_DAY, ROWS, ZONE, Census
from storage.lake.place import Place
from storage.query.analyst import ask

_RANGE: Final[dict[str, str]] = {"from": FIRST_DAY, "to": LAST_DAY, "timezone": ZONE, "event": EVENT}
# Accepted events are in the lake within seconds; a watermark that stands still so long means that nobody writes.
_STANDSTILL_SECONDS: Final = 120.0

# Publicly known of the whole data set, by the documentation of its authors and every textbook that uses it.
_PUBLIC: Final = {
    "flights": ROWS,
    "carriers": 16,
    "tail numbers": 4_043,
    "flights without a tail number": 2_512,
    "flights from EWR": 120_835,
    "flights from JFK": 111_279,
    "flights from LGA": 104_662,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One quantity from up to three sides."""

    what: str
    counted: int
    answered: int
    way: str
    known: int | None = None

    @property
    def is_right(self) -> bool:
        return self.answered == self.counted and self.known in (None, self.counted)

    def cells(self) -> tuple[str, ...]:
        """As a row of a table."""
        known = "" if self.known is None else f"{self.known:,}"
        verdict = "yes" if self.is_right else "NO"
        return (self.what, known, f"{self.counted:,}", f"{self.answered:,}", verdict, self.way)


COLUMNS: Final = ("", "KNOWN", "FILE", "ANSWER", "SAME", "ANSWERED BY")


def wait_for_lake(door: Door, received_at: str, seconds: float = _STANDSTILL_SECONDS) -> None:
    """Returns once answers hold everything accepted until then; raises Failure when they stop catching up."""
    last, deadline = "", time.monotonic() + seconds
    while (watermark := _watermark(door)) < _comparable(received_at):
        if watermark > last:
            last, deadline = watermark, time.monotonic() + seconds
        elif time.monotonic() > deadline:
            raise Failure(f"the lake has nothing newer than {watermark} for {seconds:.0f} s; see `streamgauge doctor`")
        time.sleep(0.25)


def _watermark(door: Door) -> str:
    headers, _ = door.ask("/api/v1/events", limit=1)
    return _comparable(headers["Streamgauge-Watermark"])


def _comparable(instant: str) -> str:
    """Whole seconds are written without their milliseconds."""
    return instant if "." in instant else instant.replace("Z", ".000Z")


def compare(door: Door, lake: Place, project: int, counted: Census) -> Iterator[Comparison]:
    """Every quantity, over HTTP where the API has an answer for it, else by SQL on the lake."""
    is_whole = counted.flights == ROWS

    def line(what: str, counted: int, answered: int, way: str) -> Comparison:
        return Comparison(what, counted, answered, way, _PUBLIC.get(what) if is_whole else None)

    _, page = door.ask("/api/v1/events", limit=1, **_RANGE)
    yield line("flights", counted.flights, page["meta"]["total"], "GET /api/v1/events")
    months = _series(door, "events_count")
    yield line(
        "months whose flights agree", 12, _agreeing(months, dict(counted.months)), "GET /api/v1/metrics, rollups"
    )
    people = _series(door, "unique_users", exact="true")
    tails = {month: len(found) for month, found in counted.tails_by_month.items()}
    yield line("months whose tail numbers agree", 12, _agreeing(people, tails), "GET /api/v1/metrics, exact")
    if counted.tails:
        [(tail, flights)] = counted.tails.most_common(1)
        _, page = door.ask("/api/v1/events", limit=1, userId=tail, **_RANGE)
        yield line(f"flights of {tail}", flights, page["meta"]["total"], "GET /api/v1/events")
    row = _select(lake, _HISTORY.format(project=project))
    yield line("carriers", len(counted.carriers), row["carriers"], "SQL on the lake")
    yield line("tail numbers", len(counted.tails), row["tails"], "SQL on the lake")
    yield line("flights without a tail number", counted.without_tail, row["without_tail"], "SQL on the lake")
    for origin in ("EWR", "JFK", "LGA"):
        yield line(f"flights from {origin}", counted.origins[origin], row[origin], "SQL on the lake")


# Twice the same event would be two rows here, and one in a count of ids.
_HISTORY: Final = """
    SELECT count(DISTINCT properties->>'carrier') AS carriers,
           count(DISTINCT nullif(distinct_id, '')) AS tails,
           count(*) FILTER (distinct_id = '') AS without_tail,
           count(*) FILTER ((properties->>'origin') = 'EWR') AS "EWR",
           count(*) FILTER ((properties->>'origin') = 'JFK') AS "JFK",
           count(*) FILTER ((properties->>'origin') = 'LGA') AS "LGA"
    FROM events WHERE project_id = {project} AND event_id LIKE 'flight-%'"""


def replayed(lake: Place, project: int, prefix: str) -> int:
    """Rows of one replay in the lake; `prefix` begins their ids."""
    select = "SELECT count(*) AS flights FROM events WHERE project_id = {} AND starts_with(event_id, '{}')"
    return int(_select(lake, select.format(project, prefix))["flights"])


def _series(door: Door, metric: str, **further: str) -> dict[int, int]:
    """Values by month."""
    _, answer = door.ask("/api/v1/metrics", metric=metric, interval="month", **_RANGE, **further)
    return {int(point["date"][5:7]): point["value"] for point in answer["data"]}


def _agreeing(answered: dict[int, int], counted: dict[int, int]) -> int:
    return sum(answered.get(month) == counted.get(month, 0) for month in range(1, 13))


def _select(lake: Place, sql: str) -> dict[str, Any]:
    """The one row of a SELECT."""
    with ask(lake, sql) as answer, io.BytesIO() as sink:
        answer.write("json", sink)
        [row] = json.loads(sink.getvalue())
    return dict(row)
