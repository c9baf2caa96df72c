"""The composition root of a worker: settings to a Faust app with one agent and its signals."""

import asyncio
import logging
import os
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import faust
from faust.types import TP

from processors.agents import received
from processors.attempts import Attempts, PoisonRule
from processors.batch import FlushPolicy
from processors.consumer import GroupConsumer
from processors.decode import DecodePolicy
from processors.flush import Barrier, Flusher
from processors.identity import Log
from processors.live.publish import LivePublisher
from processors.loading import WindowPolicy
from processors.projects import KnownProjects
from processors.settings import WorkerSettings
from processors.telling import Teller
from processors.watchdog import Watchdog
from processors.worker import Worker, WorkerPolicy
from storage.lake.commit import FencedTable
from storage.lake.place import place_at
from storage.meta.engine import Metadata

log = logging.getLogger(__name__)

TAKE_RECORDS = 64
LARGEST_RECORD_BYTES = 1024 * 1024  # of foreign producers; ours are a quarter
TAKE_SECONDS = 0.1
TICK_SECONDS = 0.1
SESSION_SECONDS = 10


def create_app(
    settings: WorkerSettings,
    name: str,
    barrier: Barrier,
    metadata: Metadata,
    projects: KnownProjects,
    on_ready: Callable[[], None],
) -> faust.App:
    """A Faust app that reads the events topic for one worker; `on_ready` is called at its first tick."""
    librdkafka = settings.librdkafka()
    app = faust.App(
        settings.kafka_group,
        broker=[f"kafka://{server.strip()}" for server in (settings.kafka_bootstrap_servers or "").split(",")],
        broker_credentials=credentials(settings),
        store="memory://",
        value_serializer="raw",
        processing_guarantee="at_least_once",
        topic_partitions=settings.kafka_partitions,
        topic_disable_leader=True,
        table_standby_replicas=0,
        stream_buffer_maxsize=settings.buffer_records,
        broker_session_timeout=SESSION_SECONDS,
        broker_heartbeat_interval=2,
        broker_rebalance_timeout=20,
        broker_request_timeout=30,
        broker_max_poll_interval=300,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=5000,
        web_enabled=False,
        datadir=str(settings.directory.run / f"faust-{name}"),
    )
    # acks=False: Faust tracks and commits nothing; the position is in the lake.
    topic = app.topic(settings.kafka_topic, key_type=bytes, value_type=bytes, acks=False)
    view = Log(librdkafka, settings.kafka_topic)
    chain = view.chain()
    lake = place_at(settings.lake_place)
    events_table = FencedTable(lake, "events", chain)
    worker = Worker(
        WorkerPolicy(
            name=name,
            flush=FlushPolicy(
                settings.flush_rows, settings.flush_bytes, settings.flush_age_seconds, settings.flush_dates
            ),
            window=WindowPolicy(settings.duplicate_window_seconds, settings.duplicate_window_rows),
            republish_seconds=SESSION_SECONDS,
            publish_seconds=settings.live_publish_seconds,
            alarm_ratio=settings.dead_letter_alarm_ratio,
        ),
        DecodePolicy(chain, projects, settings.event_limits),
        Flusher(
            events_table,
            FencedTable(lake, "dead_letters", chain),
            FencedTable(lake, "rollups", chain),
            barrier,
        ),
        view,
        GroupConsumer(app, settings.kafka_topic),
        publisher := LivePublisher(librdkafka, settings.kafka_live_topic),
        PoisonRule(Attempts(settings.directory.run / "attempts"), settings.event_limits, _most_untaken(settings)),
        telling=(teller := Teller(metadata, events_table.uri, chain)),
    )
    watchdog = Watchdog(Log(librdkafka, settings.kafka_topic), worker, settings.kafka_group, settings.watchdog_seconds)

    @app.agent(topic)
    async def events(stream: Any) -> None:
        async for taken in stream.take_events(TAKE_RECORDS, within=TAKE_SECONDS):
            try:
                await worker.take(received(taken))
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # Faust would ack what failed and go on
                worker.end(error)

    @app.task  # type: ignore[untyped-decorator]  # Faust does not annotate it
    async def tick() -> None:
        watchdog.start(asyncio.get_running_loop())
        on_ready()
        while not app.should_stop:
            started = time.monotonic()
            try:
                await worker.tick()
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                worker.end(error)
            await asyncio.sleep(max(0.01, TICK_SECONDS - (time.monotonic() - started)))

    @app.on_partitions_assigned.connect  # type: ignore[arg-type]  # its union of callables admits no coroutine function
    async def assigned(_app: object, partitions: set[TP], **_: Any) -> None:
        worker.assign({tp.partition for tp in partitions if tp.topic == settings.kafka_topic})

    @app.on_partitions_revoked.connect
    async def revoked(*_: Any, **__: Any) -> None:
        await worker.revoke()

    @app.on_before_shutdown.connect
    async def stop(*_: Any, **__: Any) -> None:
        # Faust takes a minute to stop when the broker is away; our own deadline does not wait for it.
        threading.Thread(target=_exit_after, args=(settings.shutdown_seconds,), daemon=True).start()
        watchdog.stop()
        await worker.stop(settings.shutdown_seconds / 2)
        publisher.close(2.0)
        await asyncio.to_thread(teller.close, 2.0)

    return app


def _most_untaken(settings: WorkerSettings) -> int:
    """Bytes of records that may be between a position and the last record that was decoded."""
    # One batch in flight, the next one full with what one take adds, and what Faust handed over on top.
    return 2 * settings.flush_bytes + (TAKE_RECORDS + settings.buffer_records) * LARGEST_RECORD_BYTES


def credentials(settings: WorkerSettings) -> Any:
    """TLS and SASL for aiokafka, from the same names that confluent-kafka uses; None for plaintext."""
    protocol = settings.kafka_security_protocol.upper()
    context = (
        ssl.create_default_context(
            cafile=str(settings.kafka_ssl_ca_location) if settings.kafka_ssl_ca_location else None
        )
        if protocol.endswith("SSL")
        else None
    )
    if protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=settings.kafka_sasl_username,
            password=settings.kafka_sasl_password.get_secret_value() if settings.kafka_sasl_password else None,
            mechanism=settings.kafka_sasl_mechanism or "PLAIN",
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None


def _exit_after(seconds: float) -> None:
    """The end of an orderly stop that did not come to an end: what is in the lake is safe."""
    time.sleep(seconds)
    log.error("the stop took too long", extra={"seconds": seconds})
    os._exit(0)
