"""B8: dashboards that poll the current figures."""

from benchmarks.figures import Figure, costs, rates
from benchmarks.run import Pair

CONNECTIONS = 64


def measure(pair: Pair) -> list[Figure]:
    """Polls a second and door CPU a poll, against a FastAPI route that returns constants of the same shape."""
    rounds = []
    for number in range(pair.run.form.rounds + 1):
        seconds = pair.run.form.seconds if number else pair.run.form.seconds / 3
        requests = int(seconds * 40_000)
        both = (
            pair.poll(pair.ours, seconds, CONNECTIONS, requests),
            pair.poll(pair.naive, seconds, CONNECTIONS, requests),
        )
        if number:
            rounds.append(both)
    workload = f"GET realtime, {CONNECTIONS} connections"
    return [rates("B8", workload, rounds, 1), costs("B8", workload, rounds, "door", 1)]
