"""B2 and B3: batches of 100 and 1,000 events, acknowledged by the log."""

from benchmarks.figures import Figure, in_r, rates
from benchmarks.run import Pair
from benchmarks.workload import Encoding

CONNECTIONS = 8
_NDJSON: tuple[Encoding, ...] = ("ndjson", "gzip", "zstd")


def measure(pair: Pair) -> list[Figure]:
    """Events a second of both doors; the aim is six times the naive one with a list model."""
    figures = []
    for bench, size, most in (("B2", 100, 6.0), ("B3", 1000, 5.0)):
        figures += _sized(pair, bench, size, most, "array")
    if pair.run.form.is_long:
        for encoding in _NDJSON:
            figures += _sized(pair, "B2", 100, None, encoding)
    return figures


def _sized(pair: Pair, bench: str, size: int, most: float | None, encoding: Encoding) -> list[Figure]:
    run = pair.run
    events = int(run.form.seconds * 250_000)
    ours = {"connections": CONNECTIONS, "requests": events // size, "encoding": encoding}
    # The naive route takes arrays only; what it is compared with is the same events.
    naive = {"connections": CONNECTIONS, "requests": events // size // 4}
    rounds = pair.rounds(size, ours, naive)
    workload = f"batch of {size}, {encoding}"
    return [
        rates(bench, workload, rounds, 6),
        in_r(bench, workload, [sample for sample, _ in rounds], ("door",), run.r, most),
    ]
