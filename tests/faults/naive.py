"""The sink everybody writes first, as a control: plain Faust, take(), one Parquet file a batch, automatic acks."""

import json
import os
import uuid
from pathlib import Path
from typing import Any

import faust
import polars as pl

_ENVIRONMENT = {name.removeprefix("STREAMGAUGE_"): value for name, value in os.environ.items()}
_FOLDER = Path(_ENVIRONMENT["DATA_DIR"]) / "naive"

app = faust.App(
    _ENVIRONMENT["KAFKA_GROUP"],
    broker=f"kafka://{_ENVIRONMENT['KAFKA_BOOTSTRAP_SERVERS']}",
    store="memory://",
    topic_partitions=int(_ENVIRONMENT["KAFKA_PARTITIONS"]),
    topic_disable_leader=True,
    broker_session_timeout=10,
    broker_heartbeat_interval=2,
    consumer_auto_offset_reset="earliest",
    web_enabled=False,
    datadir=str(_FOLDER / f"faust-{uuid.uuid4().hex}"),
)


@app.agent(app.topic(_ENVIRONMENT["KAFKA_TOPIC"], key_type=bytes, value_type=bytes, value_serializer="raw"))
async def sink(stream: Any) -> None:
    async for batch in stream.take(64, within=1.0):
        rows = [row for value in batch for row in _rows(value)]
        if rows:
            pl.DataFrame(rows).write_parquet(_FOLDER / f"{uuid.uuid4().hex}.parquet")


def _rows(value: bytes) -> list[dict[str, object]]:
    head, *lines = value.split(b"\n")[:-1]
    rows: list[dict[str, object]] = []
    for line in lines:
        try:
            rows.append({"project_id": json.loads(head)["project"], "event_id": json.loads(line)["eventId"]})
        except ValueError:
            continue
    return rows


if __name__ == "__main__":
    _FOLDER.mkdir(exist_ok=True)
    faust.Worker(app, loglevel="ERROR", quiet=True, redirect_stdouts=False).execute_from_commandline()
