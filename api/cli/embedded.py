"""The embedded broker as the commands use it."""

from pathlib import Path
from typing import NoReturn

from pydantic import Field

from api.cli.output import Failure, progress
from api.cli.processes import last_line
from storage.broker.artifact import KAFKA_VERSION, Artifact, find_java, find_or_fetch
from storage.broker.configuration import DEFAULT_HEAP_MB
from storage.broker.process import find_running, serve, why_it_ended
from storage.errors import BrokerFailed
from storage.settings import StorageSettings


class BrokerSettings(StorageSettings):
    """What may be chosen about the embedded broker."""

    java: Path | None = Field(None, description="Java home or `java` to run it with; by default the bundled Java 25.")
    broker_port: int | None = Field(
        None, ge=1024, le=32767, description="Port of the embedded broker; by default one is chosen once and kept."
    )
    broker_heap_mb: int = Field(DEFAULT_HEAP_MB, ge=128, description="Heap of the embedded broker, in MB.")
    broker_flush_messages: int = Field(
        1, ge=1, description="Records it fsyncs together; above 1 it is faster, and a power cut loses up to so many."
    )


def fetch(settings: BrokerSettings) -> Artifact:
    """The server's jars and a Java runtime, with progress while they arrive; raises BrokerFailed."""
    with progress(f"looking for Apache Kafka {KAFKA_VERSION}") as tell:
        return find_or_fetch(tell, java=settings.java)


def find(settings: BrokerSettings) -> Artifact:
    """What `fetch` left behind, fetching nothing; raises BrokerFailed for Java, and Failure for the jars."""
    find_java(settings.java)
    try:
        return find_or_fetch(lambda _: None, java=settings.java, repositories={})
    except BrokerFailed as error:
        raise Failure("the Kafka server is not complete; `streamgauge broker --fetch-only` fetches it") from error


def run(settings: BrokerSettings) -> NoReturn:
    """Become the broker; raises BrokerFailed, and Failure where one runs already."""
    running = find_running(settings.directory)
    if running is not None:
        raise Failure(f"the broker of {settings.directory.root} runs already, as {running.pid}")
    serve(settings.directory, fetch(settings), heap_mb=settings.broker_heap_mb, port=settings.broker_port)


def is_up(settings: StorageSettings, pid: int) -> bool:
    """Whether this process is the data directory's broker, and answers as itself."""
    running = find_running(settings.directory)
    return running is not None and running.pid == pid


def end_of(settings: StorageSettings, output: Path) -> str:
    """Why a broker ended, or did not come: one line that says what to do."""
    line = last_line(output)
    if line.startswith("streamgauge: "):  # it never became the server
        return line.removeprefix("streamgauge: ")
    return why_it_ended(settings.directory, output)
