"""`streamgauge lake view`: where `lake.duckdb` is, for whoever opens the lake without us."""

from api.cli.options import DataDir, load
from api.cli.output import Failure, note, say
from storage.lake.publication import DATABASE, SCRIPT, publish
from storage.settings import StorageSettings


def view(data_dir: DataDir = None) -> None:
    """Print the path of lake.duckdb; it is made now if no maintain process has published it yet."""
    settings = load(StorageSettings, data_dir)
    lake = settings.directory.lake
    if not lake.is_dir():
        raise Failure(f"there is no lake in {settings.directory.root}: run `streamgauge up` first, or name --data-dir")
    if not (lake / DATABASE).exists():
        publish(lake, settings.lake_shown_as, settings.lake_group_readable)
    note(f"open it with `duckdb -readonly`, or read {lake / SCRIPT} with `duckdb -init` for the newest version")
    say(str(lake / DATABASE))
