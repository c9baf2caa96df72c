"""The naive worker: a Faust agent with a table counter for every event, and one Parquet file a take.

Told by its environment: NAIVE_BROKERS, NAIVE_TOPIC, NAIVE_DIRECTORY.
"""

import json
import os
import uuid
from pathlib import Path
from typing import Any

import faust
import pyarrow as pa
import pyarrow.parquet as pq

DIRECTORY = Path(os.environ["NAIVE_DIRECTORY"])
TAKE_EVENTS = 20_000
# Short, so that what is waited for at the end of a run is work and not the clock.
TAKE_SECONDS = 0.5

app = faust.App(
    f"{os.environ['NAIVE_TOPIC']}-worker",
    broker=f"kafka://{os.environ['NAIVE_BROKERS']}",
    store="memory://",
    topic_partitions=4,
    topic_replication_factor=1,
    web_enabled=False,
    consumer_auto_offset_reset="earliest",
    # The changelog topic of the table is made at the start; with the default it is unknown for five minutes.
    consumer_metadata_max_age_ms=2000,
    stream_buffer_maxsize=TAKE_EVENTS,
    datadir=str(DIRECTORY / "faust"),
)
topic = app.topic(os.environ["NAIVE_TOPIC"], value_serializer="json")
# In a take() no event is current, so the changelog cannot follow its partition.
counts = app.Table("counts", default=int, use_partitioner=True)


@app.agent(topic)
async def events(stream: Any) -> None:
    """Count each event, and write what was taken."""
    async for taken in stream.take(TAKE_EVENTS, within=TAKE_SECONDS):
        for event in taken:
            counts[event["event"]] += 1
        write(taken)


def write(taken: list[dict[str, Any]]) -> None:
    """One Parquet file, visible when it is whole."""
    columns = {name: [event[name] for event in taken] for name in ("event", "userId", "eventId", "timestamp")}
    columns["properties"] = [json.dumps(event["properties"]) for event in taken]
    path = DIRECTORY / f"{uuid.uuid4()}.parquet"
    partial = path.with_suffix(".partial")
    pq.write_table(pa.table(columns), partial, compression="zstd")
    partial.rename(path)


@app.task  # type: ignore[untyped-decorator]  # Faust does not annotate it
async def ready() -> None:
    """Tell the run that the worker is there."""
    (DIRECTORY / "ready").touch()


if __name__ == "__main__":
    faust.Worker(app, loglevel="WARN", quiet=True).execute_from_commandline()
