"""An S3-protocol server of its own process: delta-rs may hold the interpreter's lock while it waits for an answer."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from storage.lake import objects
from storage.lake.place import S3Place
from tests.integration.system import free_port

_START_SECONDS = 60.0
_BUCKET = "gauge"


@dataclass(frozen=True, slots=True)
class Store:
    """A running server."""

    endpoint: str
    pid: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to reach it, by the standard names."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def place(self) -> S3Place:
        """A prefix that nothing was written to."""
        return S3Place(f"s3://{_BUCKET}/{uuid.uuid4().hex}/lake")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The run's S3-protocol server, with a bucket."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    output = tmp_path_factory.mktemp("s3") / "server.out"
    with output.open("wb") as sink, subprocess.Popen(command, stdout=sink, stderr=sink) as process:
        try:
            _await_bucket(f"http://127.0.0.1:{port}/{_BUCKET}", process, output)
            yield Store(f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.kill()


def _await_bucket(url: str, process: "subprocess.Popen[bytes]", output: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        assert process.poll() is None, output.read_text()
        assert time.monotonic() < deadline, output.read_text()
        with contextlib.suppress(OSError), urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=5):
            return
        time.sleep(0.1)


@pytest.fixture
def s3(s3_server: Store) -> Iterator[Store]:
    """The server, named in this process's environment for the length of a test."""
    with reaching(s3_server):
        yield s3_server


@contextlib.contextmanager
def reaching(store: Store) -> Iterator[None]:
    """This process's lakes are in a store."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in store.environment.items():
            patch.setenv(name, value)
        objects.store.cache_clear()
        yield
    objects.store.cache_clear()
