"""The naive door: a FastAPI route with a pydantic model, and AIOProducer with one event a record.

Told by its environment: NAIVE_BROKERS, NAIVE_TOPIC and NAIVE_BATCH, the messages that AIOProducer gathers.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from confluent_kafka.aio import AIOProducer
from fastapi import FastAPI

from benchmarks.baselines.naive.events import Accepted, NaiveEvent, NaiveRealtime

TOPIC = os.environ["NAIVE_TOPIC"]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One producer for the process, with the durability and compression of ours."""
    app.state.producer = AIOProducer(
        {
            "bootstrap.servers": os.environ["NAIVE_BROKERS"],
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 2,
            "compression.type": "zstd",
        },
        # The default of 1000 waits a second for company that 64 connections never bring.
        batch_size=int(os.environ.get("NAIVE_BATCH", "16")),
        buffer_timeout=0.1,
    )
    yield
    await app.state.producer.close()


app = FastAPI(lifespan=lifespan)


@app.post("/events")
async def one(event: NaiveEvent) -> Accepted:
    """One event, answered after its delivery report."""
    delivery = await app.state.producer.produce(
        TOPIC, value=event.model_dump_json().encode(), key=(event.userId or "").encode()
    )
    await delivery
    return Accepted(status="ok", accepted=1)


@app.post("/events/batch")
async def many(events: list[NaiveEvent]) -> Accepted:
    """Many events, answered after all their delivery reports."""
    deliveries = [
        await app.state.producer.produce(
            TOPIC, value=event.model_dump_json().encode(), key=(event.userId or "").encode()
        )
        for event in events
    ]
    await asyncio.gather(*deliveries)
    return Accepted(status="ok", accepted=len(events))


@app.get("/realtime", response_model=NaiveRealtime)
async def realtime() -> NaiveRealtime:
    """The current figures from memory; the naive pipeline has none here, so these are constants."""
    return NaiveRealtime(
        events=12345,
        people={"30s": 10, "5m": 100, "30m": 1000},
        perMinute=[{"minute": f"2026-01-01T00:{minute:02d}:00Z", "events": minute} for minute in range(30)],
        topEvents=[{"event": f"event-{number}", "count": number} for number in range(10)],
        asOf=datetime.now(UTC).isoformat(),
    )
