"""`streamgauge lake`: its files and history, maintenance by hand, and whether its numbers add up."""

import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from api.cli.connection import resolve
from api.cli.options import DataDir, Json, load
from api.cli.output import Failure, say, say_json, say_table, working
from api.cli.running import UpLock
from api.cli.serve import adopt_command, environment_of
from api.cli.view import view
from storage.lake.audit import audit
from storage.lake.pins import make_pin, read_pins, remove_pin
from storage.lake.place import place_at
from storage.lake.tables import TABLES, TableName
from storage.maintenance.manual import by_hand, open_table, table_files, table_history
from storage.maintenance.manual import restore as restore_events
from storage.maintenance.settings import MaintenanceSettings

lake = typer.Typer(add_completion=False, no_args_is_help=True, help="Look after the lake by hand.")
lake.command("view", help="Print the path of lake.duckdb, for any DuckDB.")(view)

Table = Annotated[TableName, typer.Option("--table", help="Which table.")]


@lake.command(help="List the live data files of a table.")
def files(table: Table = "events", data_dir: DataDir = None, json: Json = False) -> None:
    found = table_files(place_at(load(MaintenanceSettings, data_dir).lake_place), table)
    if json:
        say_json([asdict(file) | {"date": str(file.date), "written_at": file.written_at.isoformat()} for file in found])
        return
    rows = [(str(f.date), f.origin, f"{f.rows:,}", f"{f.size:,}", _minute(f.written_at), f.path) for f in found]
    say_table(("date", "state", "rows", "bytes", "written", "file"), rows)
    say(f"{len(found)} files, {sum(f.rows for f in found):,} rows, {sum(f.size for f in found):,} bytes")


@lake.command(help="List the newest commits of a table.")
def history(
    table: Table = "events",
    limit: Annotated[int, typer.Option(min=1, help="How many commits.")] = 20,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    commits = table_history(place_at(load(MaintenanceSettings, data_dir).lake_place), table, limit)
    if json:
        say_json([commit | {"at": commit["at"].isoformat()} for commit in commits])
        return
    rows = [(str(c["version"]), _minute(c["at"]), c["operation"], c["note"]) for c in commits]
    say_table(("version", "at", "operation", "note"), rows)


@lake.command(help="Merge small files now, and sort and deduplicate closed dates.")
def compact(data_dir: DataDir = None) -> None:
    settings = load(MaintenanceSettings, data_dir)
    maintainer = by_hand(settings)
    before = _counts(settings)
    with working("merging files"):
        maintainer.merge_due(datetime.now(UTC))
        maintainer.store_sessions(datetime.now(UTC))
    for name, count in _counts(settings).items():
        say(f"{name:<13}{before[name]} files -> {count}")


@lake.command(help="Remove files that no version of the last day names.")
def vacuum(data_dir: DataDir = None) -> None:
    maintainer = by_hand(load(MaintenanceSettings, data_dir))
    with working("looking for files"):
        removed = maintainer.vacuum_all(datetime.now(UTC))
    say(f"{removed} files removed")


@lake.command(help="Keep a version of events from vacuum, under a name.")
def pin(
    name: Annotated[str, typer.Argument(help="Its name: letters, digits, dots, dashes, underscores.")],
    version: Annotated[
        int | None, typer.Option(min=0, help="A version of `streamgauge lake history`; the newest by default.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    place = place_at(load(MaintenanceSettings, data_dir).lake_place)
    open_table(place, "events")
    made = make_pin(place, name, version, datetime.now(UTC))
    say(f"pinned version {made.version} as {name}: {len(made.files)} files, {made.bytes:,} bytes")
    say(f"asOf={made.version} answers from it until `streamgauge lake unpin {name}`; an erasure goes before it")


@lake.command(help="List the pins, with what each keeps from vacuum.")
def pins(data_dir: DataDir = None, json: Json = False) -> None:
    place = place_at(load(MaintenanceSettings, data_dir).lake_place)
    live = {file.path for file in table_files(place, "events")}
    found = [
        {
            "name": made.name,
            "version": made.version,
            "pinnedAt": made.pinned_at.isoformat(timespec="minutes"),
            "files": len(made.files),
            "bytes": made.bytes,
            "bytesKept": sum(file.size for file in made.files if file.path not in live),
            "filesErased": made.missing(place),
        }
        for made in read_pins(place)
    ]
    if json:
        say_json(found)
        return
    heads = ("name", "version", "pinned", "files", "bytes", "kept only by pins", "files erased")
    say_table(heads, [tuple(map(str, row.values())) for row in found])


@lake.command(help="Let the next vacuum have the files that a pin keeps.")
def unpin(name: Annotated[str, typer.Argument(help="The pin's name.")], data_dir: DataDir = None) -> None:
    place = place_at(load(MaintenanceSettings, data_dir).lake_place)
    open_table(place, "events")
    remove_pin(place, name)
    say(f"unpinned {name}: the next vacuum frees what nothing else keeps")


@lake.command("delete-user", help="Erase what was received of one person up to now; there is no way back.")
def delete_user(
    distinct_id: Annotated[str, typer.Argument(help="The person's id, as in the column distinct_id.")],
    project: Annotated[int, typer.Option(help="The project's number.")],
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    maintainer = by_hand(load(MaintenanceSettings, data_dir))
    with working("erasing"):
        receipt = maintainer.erase(project, distinct_id, datetime.now(UTC))
    if json:
        say_json(
            {
                "project": receipt.project,
                "erasedAt": receipt.erased_at.isoformat(),
                "tables": [asdict(table) for table in receipt.tables],
                "filesDeleted": receipt.files_deleted,
                "rebuilt": [str(day) for day in receipt.rebuilt],
            }
        )
        return
    say_table(
        ("table", "rows before", "rows after", "files", "version"),
        [(t.table, f"{t.rows_before:,}", str(t.rows_after), str(t.files), str(t.version)) for t in receipt.tables],
    )
    say(f"erased what was received up to {receipt.erased_at.isoformat()}; {receipt.files_deleted} files deleted")
    say("the log still holds it for as long as it keeps records; a backup does until it is made anew")


@lake.command(help="Check that every line is a row, a dead letter, a duplicate or erased, exactly once.")
def verify(
    scan: Annotated[bool, typer.Option("--scan", help="Also read the key of every row.")] = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    place = place_at(load(MaintenanceSettings, data_dir).lake_place)
    open_table(place, "events")
    with working("adding up"):
        result = audit(place, "scan" if scan else "counts")
    if json:
        say_json({"ok": result.is_ok, "checks": [asdict(check) for check in result.checks]})
    else:
        for line in result.lines:
            say(line)
    if not result.is_ok:
        raise Failure(f"the lake does not add up: {'; '.join(result.failures)}")


@lake.command(help="Bring events back to a version with its positions; `streamgauge up` must be stopped.")
def restore(
    version: Annotated[int, typer.Argument(help="A version of `streamgauge lake history`.")], data_dir: DataDir = None
) -> None:
    settings = load(MaintenanceSettings, data_dir)
    directory, place = settings.directory, place_at(settings.lake_place)
    open_table(place, "events")
    with UpLock(directory.create().run), working("restoring"):
        restored = restore_events(place, directory.run, version, datetime.now(UTC))
    say(f"events stands at version {version} again, as version {restored}; the next start reads on from there")


@lake.command(help="Go on with a copy of the log (a mirror, a moved cluster); `streamgauge up` must be stopped.")
def adopt(
    old: Annotated[
        str | None, typer.Option("--from", help="The log it is a copy of, where the lake has read several.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    settings = load(MaintenanceSettings, data_dir)
    open_table(place_at(settings.lake_place), "events")
    settings = resolve(settings)
    command = (*adopt_command(), *(("--from", old) if old else ()))
    with UpLock(settings.directory.create().run), working("comparing the logs"):
        status = subprocess.run(command, env=environment_of(settings), check=False).returncode
    if status:
        raise typer.Exit(status)


def _counts(settings: MaintenanceSettings) -> dict[TableName, int]:
    return {name: len(table_files(place_at(settings.lake_place), name)) for name in TABLES}


def _minute(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M")
