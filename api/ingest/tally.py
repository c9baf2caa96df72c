"""Counts of the hot path, moved to the metrics once a second: moving a metric costs more than decoding an event."""

from storage.metrics import MetricName, count


class Tally:
    """Adds up in memory. For the event loop's thread only."""

    def __init__(self) -> None:
        self._counts: dict[tuple[MetricName, str, str | int], int] = {}

    def add(self, name: MetricName, label: str, value: str | int, amount: int = 1) -> None:
        """Note that a counter with this one label has grown."""
        key = (name, label, value)
        self._counts[key] = self._counts.get(key, 0) + amount

    def flush(self) -> None:
        """Move what was noted to the metrics."""
        counts, self._counts = self._counts, {}
        for (name, label, value), amount in counts.items():
            count(name, amount, **{label: value})
