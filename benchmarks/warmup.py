"""Load before anything is timed: a young JVM costs several times what a warm one does."""

from benchmarks.run import Pair


def warm(pair: Pair) -> None:
    """Batches to both doors, half of the form's warm time each."""
    seconds = pair.run.form.warm_seconds / 2
    for stack in (pair.ours, pair.naive):
        requests = int(seconds * 2000) + 1
        pair.measure(stack, pair.load(stack, 100, seconds, connections=8, requests=requests))
