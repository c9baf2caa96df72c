"""The analytics of an API process from its settings."""

from collections.abc import Callable

from api.analytics.answering import Analytics
from api.analytics.log_state import LogView
from api.log.consumer import LogReader
from api.settings import ApiSettings
from storage.lake.place import place_at
from storage.query.engine import QueryEngine
from storage.query.lake import Lake


def open_analytics(settings: ApiSettings, log: LogView, partitions: Callable[[], int]) -> Analytics:
    """Close it when the process ends. The lake need not exist yet, and nothing is connected."""
    lake = place_at(settings.lake_place)
    finder = LogReader(settings.librdkafka(), settings.kafka_topic) if settings.kafka_bootstrap_servers else None
    return Analytics(QueryEngine(lake), Lake(lake), log, partitions, finder)
