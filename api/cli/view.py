"""`streamgauge lake view`: where `lake.duckdb` is, for whoever opens the lake without us."""

from api.cli.options import DataDir, load
from api.cli.output import Failure, note, say
from storage.lake.place import place_at
from storage.lake.publication import DATABASE, SCRIPT, publish
from storage.lake.tables import has_tables
from storage.settings import StorageSettings


def view(data_dir: DataDir = None) -> None:
    """Print the path of lake.duckdb; it is made now if no maintain process has published it yet."""
    settings = load(StorageSettings, data_dir)
    lake = settings.directory.lake
    tables = place_at(settings.lake_place)
    if not has_tables(tables):
        raise Failure(f"there is no lake at {tables}: run `streamgauge up` first, or name --data-dir")
    if not (lake / DATABASE).exists():
        lake.mkdir(mode=0o700, parents=True, exist_ok=True)
        publish(lake, settings.lake_shown_as, settings.lake_group_readable, tables)
    note(f"open it with `duckdb -readonly`, or read {lake / SCRIPT} with `duckdb -init` for the newest version")
    say(str(lake / DATABASE))
