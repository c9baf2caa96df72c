"""A Faust app for one experiment, run in a process of its own: `python -m tests.contracts.faust_probe STORY`.

It prints one JSON object a line: what it saw. Settings come from PROBE_ variables.
"""

import asyncio
import base64
import json
import os
import sys
from typing import Any

import faust
from faust.types import TP

from processors.agents import received
from processors.consumer import GroupConsumer

SERVERS, TOPIC, GROUP = (os.environ[f"PROBE_{name}"] for name in ("SERVERS", "TOPIC", "GROUP"))
STORY = sys.argv[1]
IS_TRACKED = STORY == "raise in take"

app = faust.App(
    GROUP,
    broker=f"kafka://{SERVERS}",
    store="memory://",
    value_serializer="raw",
    topic_partitions=1,
    topic_disable_leader=True,
    stream_buffer_maxsize=256,
    broker_session_timeout=10,
    broker_heartbeat_interval=2,
    broker_rebalance_timeout=20,
    consumer_auto_offset_reset="earliest",
    consumer_metadata_max_age_ms=5000,
    broker_commit_every=1,
    broker_commit_interval=0.2,
    web_enabled=False,
    datadir=os.environ["PROBE_DATA"],
)
topic = app.topic(TOPIC, key_type=bytes, value_type=bytes, acks=IS_TRACKED)
consumer = GroupConsumer(app, TOPIC)
seen = 0


def say(**fields: Any) -> None:
    """One observation."""
    print(json.dumps(fields), flush=True)


@app.agent(topic)
async def records(stream: Any) -> None:
    global seen
    if STORY == "raise in take":
        async for batch in stream.take(10, within=1.0):
            say(took=len(batch))
            raise RuntimeError("the batch is lost")
    async for taken in stream.take_events(64, within=0.1):
        for item in received(taken):
            record = item.record
            value = None if record.value is None else base64.b64encode(record.value).decode()
            headers = {name: text.decode() for name, text in record.headers.items()}
            say(
                offset=record.offset,
                value=value,
                headers=headers,
                timestamp=record.timestamp,
                is_current=item.generation == consumer.generation(),
            )
            seen += 1
        await after(seen)


async def after(count: int) -> None:
    """What the story does once it has seen enough."""
    if STORY == "commit" and count >= 5:
        say(committed=await app.consumer._commit({TP(TOPIC, 0): 3}))  # type: ignore[attr-defined]
        coordinator = app.consumer._thread._consumer._coordinator  # type: ignore[attr-defined]
        real, coordinator.generation = coordinator.generation, coordinator.generation - 1
        try:
            say(zombie_committed=await app.consumer._commit({TP(TOPIC, 0): 5}))  # type: ignore[attr-defined]
        finally:
            coordinator.generation = real
    if STORY == "seek" and count == 5:
        asyncio.get_running_loop().create_task(seek_until_first_comes())


async def seek_until_first_comes() -> None:
    """Faust may lose a seek; repeated, it arrives."""
    for attempt in range(1, 11):
        before = seen
        await consumer.seek(0, 0)
        await asyncio.sleep(1.5)
        if seen > before:
            say(arrived_after=attempt)
            return


@app.on_partitions_assigned.connect  # type: ignore[arg-type]
async def assigned(_app: object, partitions: set[TP], **_: Any) -> None:
    say(assigned=sorted(tp.partition for tp in partitions if tp.topic == TOPIC), generation=consumer.generation())


@app.on_partitions_revoked.connect
async def revoked(*_: Any, **__: Any) -> None:
    say(revoked=True)


@app.on_before_shutdown.connect
async def stopping(*_: Any, **__: Any) -> None:
    say(stopping=True)
    if STORY == "stop":
        await consumer.commit({0: 2})


if __name__ == "__main__":
    worker = faust.Worker(app, override_logging=False, redirect_stdouts=False, loglevel="ERROR", quiet=True)
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)
