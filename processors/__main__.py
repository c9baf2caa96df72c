"""`python -m processors --name worker-0`: one worker process."""

import argparse
import logging
import os
import sys
from pathlib import Path

from prometheus_client import start_http_server

from processors.barrier import DiskBarrier, NoBarrier
from processors.errors import WorkerError
from processors.identity import wait_for_topics
from processors.projects import KnownProjects
from processors.settings import WorkerSettings
from storage.errors import StorageError
from storage.logs import configure_logging
from storage.meta.engine import open_metadata
from storage.meta.projects import known_project_ids

log = logging.getLogger(__name__)

BROKER_SECONDS = 60.0


def main() -> None:
    """Run until SIGTERM; exits 70 when a person is needed, 75 when a restart helps."""
    parser = argparse.ArgumentParser(prog="python -m processors", description=__doc__)
    parser.add_argument("--name", default="worker-0", help="name in logs, metrics and `streamgauge ps`")
    name = parser.parse_args().name
    settings = WorkerSettings()
    directory = settings.directory.create()
    configure_logging(name, directory.logs)
    try:
        run(settings, name)
    except (WorkerError, StorageError, ValueError) as error:
        log.critical("the worker cannot start", extra={"reason": str(error)})
        print(f"streamgauge {name}: {error}", file=sys.stderr)
        sys.exit(error.exit_status if isinstance(error, WorkerError) else 1)


def run(settings: WorkerSettings, name: str) -> None:
    """Build the app and hand the process to Faust."""
    wait_for_topics(settings.librdkafka(), [settings.kafka_topic, settings.kafka_live_topic], BROKER_SECONDS)
    # Faust bootstraps its own producer when it starts, so it is imported only now.
    import faust

    from processors.app import create_app

    directory = settings.directory
    metadata = open_metadata(settings.metadata_url, directory.key_revision)
    ready_file = directory.run / f"{name}.ready"
    ready_file.unlink(missing_ok=True)
    if settings.worker_metrics_port is not None:
        start_http_server(settings.worker_metrics_port, addr=settings.metrics_host)
    app = create_app(
        settings,
        name,
        NoBarrier() if settings.lake_uri else DiskBarrier(directory.run / "synced.json"),
        metadata,
        KnownProjects(lambda: known_project_ids(metadata)),
        lambda: _say_ready(ready_file),
    )
    worker = faust.Worker(app, override_logging=False, redirect_stdouts=False, loglevel="WARN", quiet=True)
    status = 0
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    # The lake is committed. What is left is the interpreter's own clean-up, which can abort in
    # native libraries (after a full disk, say) and would turn an orderly stop into a crash.
    logging.shutdown()
    os._exit(status)


def _say_ready(path: Path) -> None:
    path.write_text(str(os.getpid()))


if __name__ == "__main__":
    main()
