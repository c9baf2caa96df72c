"""B1: one event a request, acknowledged by the log."""

from benchmarks.figures import Figure, costs, in_r, rates
from benchmarks.run import Pair

CONNECTIONS = (64, 256)


def measure(pair: Pair) -> list[Figure]:
    """Requests a second of both doors; the aim is three times the naive one."""
    run = pair.run
    figures = []
    for connections in CONNECTIONS if run.form.is_long else CONNECTIONS[:1]:
        most = int(run.form.seconds * 30_000)
        options = {"connections": connections, "requests": most}
        rounds = pair.rounds(0, options, options)
        workload = f"POST, {connections} connections"
        figures += [
            rates("B1", workload, rounds, 3),
            costs("B1", workload, rounds, "door", 3),
            in_r("B1", workload, [ours for ours, _ in rounds], ("door", "broker"), run.r, None),
        ]
    return figures
