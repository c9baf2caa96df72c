"""Metrics are made on first use, whoever is first."""

import subprocess
import sys

# In a process of its own: here most metrics exist already.
_AT_ONCE = """
from threading import Barrier, Thread
from storage.metrics import METRICS, gauge, observe, count
ways = {"counter": count, "gauge": gauge, "histogram": observe}
barrier, failed = Barrier(8), []
def move():
    barrier.wait()
    for name, metric in METRICS.items():
        labels = {label: "x" for label in metric.labels}
        try:
            ways[metric.kind](name, 1, **labels)
        except Exception as error:
            failed.append(error)
threads = [Thread(target=move) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert not failed, failed
"""


def test_threads_that_use_a_metric_first_at_once_share_it() -> None:
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", _AT_ONCE], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
