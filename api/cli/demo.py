"""`streamgauge demo`: real flights into a running system, and its answers beside what is known of them."""

import secrets
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Annotated, Final

import typer

from api.cli.options import DataDir, load
from api.cli.output import Failure, say, say_table, working
from api.cli.running import read_running
from api.demo import replay
from api.demo.answers import COLUMNS, compare, replayed, wait_for_lake
from api.demo.door import Door, send_all
from api.demo.flights import (
    ROWS,
    Census,
    Departure,
    census,
    day_like,
    flights_file,
    history_event,
    read_flights,
    timetable,
)
from schemas.projects import Dialect, Scope
from storage.lake.place import Place, place_at
from storage.meta.accounts import ensure_account, find_account
from storage.meta.engine import open_metadata
from storage.meta.keys import KeySpec, create_keys
from storage.meta.projects import ensure_project
from storage.settings import StorageSettings

EMAIL: Final = "demo@streamgauge.invalid"
# The key that writes is for this run only.
_INGEST_HOURS: Final = 6
_REPORT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Stage:
    """Where the demo plays."""

    url: str
    lake: Place
    project: int
    ingest: str
    read: str


def demo(
    data_dir: DataDir = None,
    flights: Annotated[int, typer.Option(min=1, max=ROWS, help="Load only the first so many.")] = ROWS,
    replay_seconds: Annotated[int, typer.Option(min=0, max=3600, help="Length of the replay; 0 for none.")] = 60,
    url: Annotated[str | None, typer.Option(help="Where the API answers, when no `up` runs here.")] = None,
) -> None:
    """Load the sample data into a running system and print what to look at."""
    settings = load(StorageSettings, data_dir)
    stage = _set(settings, url or _running_url(settings), flights)
    file = flights_file()
    with working("counting the flights in the file"):
        counted = census(read_flights(file, flights))
    received_at = _load(stage, file, counted)
    start = datetime.now(UTC)
    departures = timetable(read_flights(file), day_like(start.date()), replay_seconds) if replay_seconds else []
    stop = Event()
    with ThreadPoolExecutor(1) as pool:
        try:
            running = pool.submit(_replay, stage, departures, start, stop)
            wrong = _compare(stage, received_at, counted)
            _follow(stage, running, replay.prefix_of(start))
        finally:
            stop.set()
    _show_next(stage, settings)
    if wrong:
        raise Failure(f"{wrong} answers differ from the file; run `streamgauge doctor` and `streamgauge lake verify`")


def _running_url(settings: StorageSettings) -> str:
    running = read_running(settings.directory.run)
    if running is None:
        raise Failure(
            f"nothing runs on {settings.directory.root}: start `streamgauge up` on it, or name the API with --url"
        )
    return running.url


def _set(settings: StorageSettings, url: str, flights: int) -> _Stage:
    """The demo's account and project, and fresh keys; a part of the flights has a project of its own."""
    now = datetime.now(UTC)
    name = "flights" if flights == ROWS else f"flights-{flights}"
    with open_metadata(settings.metadata_url, settings.directory.key_revision) as metadata:
        metadata.migrate()
        # Nobody logs in to it, so nobody knows its password; a known one would be a door of every installation.
        account = find_account(metadata, EMAIL) or ensure_account(metadata, EMAIL, secrets.token_urlsafe(32), now)
        project = ensure_project(metadata, account.id, name, "flights.invalid", now)
        ends = now + timedelta(hours=_INGEST_HOURS)
        specs = [
            KeySpec(account.id, Dialect.JCHT, Scope.INGEST, project.id, "demo", ends),
            KeySpec(account.id, Dialect.JCHT, Scope.READ, project.id, "demo"),
        ]
        ingest, read = (key.secret for key in create_keys(metadata, specs, now))
    say(f"project {project.name} ({project.id}) of {EMAIL}")
    say(f"read key {read}")
    return _Stage(url, place_at(settings.lake_place), project.id, ingest, read)


def _load(stage: _Stage, file: Path, counted: Census) -> str:
    """Send all of them as they were in 2013; returns when the last was accepted."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    begun = datetime.now(UTC)
    columns = (TextColumn("flights"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("flights", total=counted.flights)
        events = map(history_event, read_flights(file, counted.flights))
        received_at = send_all(stage.url, stage.ingest, events, lambda sent: progress.advance(bar, sent))
    seconds = (datetime.now(UTC) - begun).total_seconds()
    say(f"{counted.flights:,} flights accepted in {seconds:.1f} s, {counted.flights / seconds:,.0f} a second")
    return received_at


def _replay(stage: _Stage, departures: Sequence[Departure], start: datetime, stop: Event) -> replay.Sent:
    with Door(stage.url, stage.ingest) as door:
        return replay.run(door, departures, replay.prefix_of(start), stop)


def _compare(stage: _Stage, received_at: str, counted: Census) -> int:
    """Print all answers; returns how many are wrong."""
    with Door(stage.url, stage.read) as door:
        begun = datetime.now(UTC)
        with working("waiting for the lake"):
            wait_for_lake(door, received_at)
        say(f"all of them in the lake {(datetime.now(UTC) - begun).total_seconds():.1f} s later")
        with working("asking"):
            found = list(compare(door, stage.lake, stage.project, counted))
    say_table(COLUMNS, [comparison.cells() for comparison in found])
    return sum(not comparison.is_right for comparison in found)


def _follow(stage: _Stage, running: "Future[replay.Sent]", prefix: str) -> None:
    """The live counters while the replay runs, and that all of it was counted and kept."""
    with Door(stage.url, stage.read) as door:
        while not _ended(running):
            say(replay.describe(door.ask("/api/v1/realtime")[1]))
        sent = running.result()
        if not sent.events:
            return
        with working("waiting for the lake"):
            wait_for_lake(door, sent.received_at)
        live = door.ask("/api/v1/realtime")[1]
    say(replay.describe(live))
    rows = replayed(stage.lake, stage.project, prefix)
    say(f"replayed now: {sent.events:,} flights sent, {rows:,} in the lake")
    if rows != sent.events or live["events"] < sent.events:
        raise Failure(
            f"of {sent.events} replayed flights {rows} are in the lake and {live['events']} were counted live"
        )


def _ended(running: "Future[replay.Sent]") -> bool:
    try:
        running.exception(_REPORT_SECONDS)
    except TimeoutError:
        return False
    return True


def _show_next(stage: _Stage, settings: StorageSettings) -> None:
    root, url = settings.directory.root, stage.url
    key = '-H "X-API-Key: $READ"'
    year = "from=2013-01-01&to=2013-12-31&timezone=America/New_York"
    for line in (
        "next",
        f"  READ={stage.read}",
        f"  curl {key} '{url}/api/v1/realtime'",
        f"  curl {key} -N '{url}/api/v1/realtime/stream'",
        f"  curl {key} '{url}/api/v1/metrics?metric=unique_users&interval=month&{year}'",
        f"  curl {key} '{url}/api/v1/events?userId=N725MQ&limit=3&{year}'",
        f"  streamgauge sql --data-dir {root} \"SELECT properties->>'carrier', count(*) FROM events GROUP BY 1\"",
        f"  duckdb -readonly {settings.directory.lake / 'lake.duckdb'}",
    ):
        say(line)
