"""Faust as its guide shows it: one event a record, counted in memory and nothing else.

Told by its environment: NAIVE_BROKERS, NAIVE_TOPIC, NAIVE_DIRECTORY.
"""

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Any

import faust

DIRECTORY = Path(os.environ["NAIVE_DIRECTORY"])
TALLY_SECONDS = 0.1

app = faust.App(
    f"{os.environ['NAIVE_TOPIC']}-counting",
    broker=f"kafka://{os.environ['NAIVE_BROKERS']}",
    store="memory://",
    topic_partitions=4,
    web_enabled=False,
    consumer_auto_offset_reset="earliest",
    datadir=str(DIRECTORY / "faust"),
)
topic = app.topic(os.environ["NAIVE_TOPIC"], value_serializer="json")
counts: Counter[str] = Counter()


@app.agent(topic)
async def events(stream: Any) -> None:
    """Count each event by its name."""
    async for event in stream:
        counts[event["event"]] += 1


@app.task  # type: ignore[untyped-decorator]  # Faust does not annotate it
async def tally() -> None:
    """Tell the run how many were counted."""
    while True:
        (DIRECTORY / "tally.new").write_text(str(counts.total()))
        (DIRECTORY / "tally.new").rename(DIRECTORY / "tally")
        await asyncio.sleep(TALLY_SECONDS)


if __name__ == "__main__":
    faust.Worker(app, loglevel="WARN", quiet=True).execute_from_commandline()
