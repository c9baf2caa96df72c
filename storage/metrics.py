"""The closed list of metrics, each with its kind and meaning, and the one way to move them.

Prometheus' multiprocess directory is read from the environment when the client library is first
imported, so metrics are made on first use, never at import.
"""

from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Literal, get_args

MetricName = Literal[
    "streamgauge_events_accepted_total",
    "streamgauge_events_refused_total",
    "streamgauge_requests_total",
    "streamgauge_records_produced_total",
    "streamgauge_events_per_record",
    "streamgauge_produce_seconds",
    "streamgauge_log_unavailable_total",
    "streamgauge_rows_total",
    "streamgauge_duplicates_total",
    "streamgauge_dead_letters_total",
    "streamgauge_gaps_total",
    "streamgauge_flush_seconds",
    "streamgauge_commit_seconds",
    "streamgauge_commits_refused_total",
    "streamgauge_lag_offsets",
    "streamgauge_position_offset",
    "streamgauge_worker_exits_total",
    "streamgauge_alarms_total",
    "streamgauge_audit_mismatch",
    "streamgauge_live_files",
    "streamgauge_maintenance_seconds",
    "streamgauge_query_seconds",
    "streamgauge_webhook_messages_total",
]
Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """What one metric counts, in which unit and by which labels."""

    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()


METRICS: dict[MetricName, Metric] = {
    "streamgauge_events_accepted_total": Metric("counter", "Events acknowledged by the log.", ("lane",)),
    "streamgauge_events_refused_total": Metric("counter", "Events refused at the door, by error code.", ("code",)),
    "streamgauge_requests_total": Metric("counter", "Requests answered on the ingest lane, by status.", ("status",)),
    "streamgauge_records_produced_total": Metric("counter", "Kafka records whose delivery report arrived."),
    "streamgauge_events_per_record": Metric("histogram", "Events in one produced record."),
    "streamgauge_produce_seconds": Metric("histogram", "From produce to delivery report."),
    "streamgauge_log_unavailable_total": Metric("counter", "Requests answered 503, by cause.", ("cause",)),
    "streamgauge_rows_total": Metric("counter", "Rows committed to the lake."),
    "streamgauge_duplicates_total": Metric("counter", "Events dropped because their id was already accepted."),
    "streamgauge_dead_letters_total": Metric("counter", "Lines that could not become events, by reason.", ("reason",)),
    "streamgauge_gaps_total": Metric("counter", "Offsets that the log lost before they were read."),
    "streamgauge_flush_seconds": Metric("histogram", "One whole flush."),
    "streamgauge_commit_seconds": Metric("histogram", "One Delta commit to events."),
    "streamgauge_commits_refused_total": Metric("counter", "Commits the fence refused."),
    "streamgauge_lag_offsets": Metric("gauge", "Log end minus position in the lake.", ("partition",)),
    "streamgauge_position_offset": Metric("gauge", "Next offset to read, as stored in the lake.", ("partition",)),
    "streamgauge_worker_exits_total": Metric("counter", "Workers that ended themselves, by cause.", ("cause",)),
    "streamgauge_alarms_total": Metric("counter", "Conditions a person must look at, by kind.", ("kind",)),
    "streamgauge_audit_mismatch": Metric("gauge", "1 while the lake's totals do not add up."),
    "streamgauge_live_files": Metric("gauge", "Live data files of a table.", ("table",)),
    "streamgauge_maintenance_seconds": Metric("histogram", "One maintenance task.", ("task",)),
    "streamgauge_query_seconds": Metric("histogram", "One answered question, by plan.", ("plan",)),
    "streamgauge_webhook_messages_total": Metric("counter", "Messages to webhooks, by outcome.", ("outcome",)),
}
assert set(METRICS) == set(get_args(MetricName))

_BUCKETS = {
    "streamgauge_events_per_record": (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000),
}
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


_making = Lock()


def count(name: MetricName, amount: float = 1, **labels: str | int) -> None:
    """Add to a counter."""
    _child(name, **labels).inc(amount)


def observe(name: MetricName, value: float, **labels: str | int) -> None:
    """Put one value into a histogram."""
    _child(name, **labels).observe(value)


def gauge(name: MetricName, value: float, **labels: str | int) -> None:
    """Set a gauge."""
    _child(name, **labels).set(value)


def _child(name: MetricName, **labels: str | int):  # type: ignore[no-untyped-def]  # one of three classes of an optional-label library
    with _making:  # or two threads make one name, and the second is refused
        metric = _metric(name)
    return metric.labels(**labels) if labels else metric


@cache
def _metric(name: MetricName):  # type: ignore[no-untyped-def]  # likewise
    from prometheus_client import Counter, Gauge, Histogram

    metric = METRICS[name]
    match metric.kind:
        case "counter":
            return Counter(name, metric.meaning, metric.labels)
        case "gauge":
            return Gauge(name, metric.meaning, metric.labels, multiprocess_mode="mostrecent")
        case "histogram":
            return Histogram(name, metric.meaning, metric.labels, buckets=_BUCKETS.get(name, _SECONDS))
