"""What must stand before any process serves: topics, lake tables, metadata.

`up` runs it as a child of its own, so that the libraries it needs do not stay in the supervisor's memory.
"""

from pathlib import Path
from typing import Final

from api.cli.connection import resolve
from api.cli.embedded import BrokerSettings
from api.cli.options import DataDir, load
from api.cli.output import note
from api.log.topics import ensure_topics
from storage.lake.durability import boot_check
from storage.lake.place import place_at
from storage.lake.selftest import check_fence
from storage.lake.tables import create_tables
from storage.meta.engine import open_metadata

# A broker that takes connections may still be loading; longer, and people want to know that nobody answers.
_LOG_SECONDS: Final = 60.0


def prepare(data_dir: DataDir = None, embedded: bool = False) -> None:
    """Create or check topics, lake tables and metadata; safe to repeat."""
    settings = resolve(load(BrokerSettings, data_dir))
    directory = settings.directory.create()
    lake = place_at(settings.lake_place)
    check_fence(lake)
    # After a crash of the machine the newest commits may be torn: back to a whole version, before anybody writes.
    for line in boot_check(lake, directory.run) if isinstance(lake, Path) else ():
        note(line)
    create_tables(lake)
    with open_metadata(settings.metadata_url, directory.key_revision) as metadata:
        metadata.migrate()
    # The embedded broker is alone: what its disk has not got is nowhere. A cluster has its replicas.
    flush_messages = settings.broker_flush_messages if embedded else None
    for line in ensure_topics(settings, flush_messages, _LOG_SECONDS):
        note(line)
