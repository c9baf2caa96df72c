"""Settings of a worker process."""

from pydantic import Field

from storage.settings import EventLimitSettings


class WorkerSettings(EventLimitSettings):
    """When a worker flushes, what it remembers, and when it gives up on itself."""

    flush_age_seconds: float = Field(5.0, gt=0, description="Oldest an accepted event may be before it is flushed.")
    flush_rows: int = Field(250_000, ge=1, description="Rows that start a flush.")
    flush_bytes: int = Field(32 * 1024 * 1024, ge=1, description="Bytes of log records that start a flush.")
    flush_dates: int = Field(366, ge=1, description="Distinct dates that start a flush; each becomes a file.")
    buffer_records: int = Field(256, ge=1, description="Records that Faust may hold before it stops fetching.")
    duplicate_window_seconds: int = Field(86_400, ge=0, description="How long an event id is remembered.")
    duplicate_window_rows: int = Field(2_000_000, ge=0, description="Event ids remembered for each partition.")
    live_publish_seconds: float = Field(0.1, gt=0, description="Interval between publications of changed live slots.")
    watchdog_seconds: float = Field(60.0, gt=0, description="A position that stands still this long ends the worker.")
    shutdown_seconds: float = Field(20.0, gt=0, description="Deadline of an orderly stop, last flush included.")
    dead_letter_alarm_ratio: float = Field(
        0.1, gt=0, le=1, description="Share of rejected lines in one flush that raises an alarm."
    )
    worker_metrics_port: int | None = Field(
        None, ge=1, le=65535, description="Port for /metrics of a worker on a host without an API."
    )
    metrics_host: str = Field("127.0.0.1", description="Address of /metrics when it has a port of its own.")
