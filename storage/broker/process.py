"""The server's process: format its disk once, start it, believe it when it answers, stop it in order."""

import ctypes
import errno
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from storage.broker.artifact import ALTERNATIVES, Artifact
from storage.broker.configuration import (
    DEFAULT_HEAP_MB,
    HOST,
    LOGGING,
    Identity,
    formatted_cluster_id,
    is_free,
    java_options,
    read_identity,
    read_pid,
    server_properties,
    write_atomically,
    write_identity,
)
from storage.errors import BrokerFailed
from storage.settings import DataDirectory

# 2-3 s on an idle machine; the recovery of a large log after a kill -9 on a busy one may take most of this.
START_SECONDS = 90.0
# An ordered stop takes under a second; a broker that is still busy then is better killed, which loses nothing.
STOP_SECONDS = 30.0
# A broker whose parent was just killed needs a moment to go before its ports are free again.
LEAVE_SECONDS = 3.0
# Below this the server fails in its first minute, and says so less clearly than we can.
LEAST_FREE_BYTES = 64 * 1024 * 1024
POLL_SECONDS = 0.05
# A start that lost its port to somebody between our look and the server's bind deserves a second try.
ATTEMPTS = 2
PR_SET_PDEATHSIG = 1
# What the operating system and Java take from the environment without being asked.
FOREIGN_VARIABLES = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH")

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Running:
    """A broker that is up, whoever started it."""

    pid: int
    bootstrap_servers: str


class Broker:
    """One embedded broker on one data directory, as a child of this process.

    On Linux the child is killed when the *thread* that called `start` ends, so start it from one that lives as long
    as the broker should (the main thread).
    """

    def __init__(
        self, directory: DataDirectory, artifact: Artifact, *, heap_mb: int = DEFAULT_HEAP_MB, port: int | None = None
    ) -> None:
        self._directory = directory
        self._artifact = artifact
        self._heap_mb = heap_mb
        self._port = port
        self._identity: Identity | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def bootstrap_servers(self) -> str:
        if self._identity is None:
            raise BrokerFailed("the broker was not started yet")
        return f"{HOST}:{self._identity.port}"

    def start(self, timeout_seconds: float = START_SECONDS) -> None:
        """Start the child and return when it answers; raises BrokerFailed, and leaves no child behind then."""
        for attempt in range(1, ATTEMPTS + 1):
            self._launch()
            try:
                self._wait_until_ready(timeout_seconds)
            except BaseException as error:
                died = self.poll() is not None
                self.kill()
                if not (isinstance(error, BrokerFailed) and died and attempt < ATTEMPTS):
                    raise
            else:
                return

    def poll(self) -> int | None:
        """The exit code of a child that ended, None while it runs (or was never started)."""
        return self._process.poll() if self._process else None

    def stop(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """Ordered stop: the log is closed clean, so that the next start needs no recovery. Safe to repeat."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()

    def kill(self) -> None:
        """End it like kill -9, and wait for the end. Everything acknowledged is kept. Safe to repeat."""
        if self._process is None or self._identity is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None
        write_identity(self._directory.broker_file, self._identity, pid=None)

    def _launch(self) -> None:
        if self.poll() is None and self._process is not None:
            raise BrokerFailed(f"this broker runs already (pid {self._process.pid})")
        self._identity = prepare(self._directory, self._artifact, self._port)
        with open(_output(self._directory), "wb") as output:
            self._process = subprocess.Popen(
                _command(self._directory, self._artifact, self._heap_mb),
                cwd=self._directory.root,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                umask=0o077,
                process_group=0,  # Ctrl-C in the terminal reaches the parent only, which stops its children in order
                preexec_fn=_die_with_parent,
            )
        write_identity(self._directory.broker_file, self._identity, self._process.pid)

    def _wait_until_ready(self, timeout_seconds: float) -> None:
        assert self._identity is not None
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            if self.poll() is not None:
                raise BrokerFailed(why_it_ended(self._directory, _output(self._directory)))
            if answering_cluster(self._identity.port) == self._identity.cluster_id:
                return
            time.sleep(POLL_SECONDS)
        raise BrokerFailed(
            f"the broker did not answer within {timeout_seconds:g} s: see {self._directory.logs / 'broker.log'}, "
            f"free the machine and try again, {ALTERNATIVES}"
        )


def serve(
    directory: DataDirectory, artifact: Artifact, *, heap_mb: int = DEFAULT_HEAP_MB, port: int | None = None
) -> NoReturn:
    """Become the broker: this process is replaced by the server, pid and all. Errors before that are BrokerFailed."""
    identity = prepare(directory, artifact, port)
    write_identity(directory.broker_file, identity, os.getpid())
    sys.stdout.flush()
    sys.stderr.flush()
    os.chdir(directory.root)
    os.umask(0o077)
    command = _command(directory, artifact, heap_mb)
    os.execve(command[0], command, _environment())


def find_running(directory: DataDirectory) -> Running | None:
    """The broker of this data directory, if it lives and answers as itself."""
    identity, pid = read_identity(directory.broker_file, directory.kafka), read_pid(directory.broker_file)
    if identity is None or pid is None or not _is_alive(pid):
        return None
    if answering_cluster(identity.port) != identity.cluster_id:
        return None
    return Running(pid, f"{HOST}:{identity.port}")


def prepare(directory: DataDirectory, artifact: Artifact, port: int | None) -> Identity:
    """Everything before the server itself: directories, ports, configuration, and once the format of the disk."""
    try:
        directory.create()
        _refuse_full_disk(directory.root)
        identity = _identity(directory, port)
        write_identity(directory.broker_file, identity, pid=None)
        shutil.rmtree(_temporary(directory), ignore_errors=True)
        _temporary(directory).mkdir(mode=0o700)
        write_atomically(directory.run / "server.properties", server_properties(identity))
        write_atomically(directory.run / "log4j2.properties", LOGGING)
        if formatted_cluster_id(directory.kafka) is None:
            _format(directory, artifact, identity)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BrokerFailed(_disk_full(directory.root, os.strerror(error.errno))) from error
        raise BrokerFailed(
            f"the broker cannot use {directory.root}: {error}: put it right or name another --data-dir, {ALTERNATIVES}"
        ) from error
    return identity


def answering_cluster(port: int) -> str | None:
    """The cluster id that a Kafka broker on this port gives, or None: proof that it speaks, and of who it is.

    One Metadata request, version 4, for no topic; the answer names the cluster only once the broker is registered.
    """
    request = struct.pack(">hhih", 3, 4, 1, -1) + struct.pack(">i?", 0, False)
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as answer:
                (length,) = struct.unpack(">i", answer.read(4))
                return _cluster_of(answer.read(min(length, 65_536)))
    except (OSError, struct.error, UnicodeDecodeError):
        return None


def _cluster_of(answer: bytes) -> str | None:
    correlation, _throttle, brokers = struct.unpack_from(">iii", answer)
    place = 12
    if correlation != 1 or brokers < 1:
        return None
    for _ in range(brokers):
        place += 4
        place += 2 + struct.unpack_from(">h", answer, place)[0]
        place += 4
        place += 2 + max(0, struct.unpack_from(">h", answer, place)[0])
    (length,) = struct.unpack_from(">h", answer, place)
    return answer[place + 2 : place + 2 + length].decode() if length > 0 else None


def _identity(directory: DataDirectory, port: int | None) -> Identity:
    kept, pid = read_identity(directory.broker_file, directory.kafka), read_pid(directory.broker_file)
    if kept is None:
        return _with_free_ports(Identity.new(port, formatted_cluster_id(directory.kafka)), None)
    wanted = Identity(kept.cluster_id, port or kept.port, kept.controller_port)
    return _with_free_ports(wanted, pid)


def _with_free_ports(identity: Identity, pid: int | None) -> Identity:
    """The identity as it is, once nobody listens on its ports; a broker that is just going is waited for."""
    deadline = time.monotonic() + LEAVE_SECONDS
    for port in (identity.port, identity.controller_port):
        while not is_free(port):
            if pid is None or not _is_alive(pid):
                raise BrokerFailed(_port_taken(port))
            if time.monotonic() > deadline:
                raise BrokerFailed(
                    f"a broker with pid {pid} runs on this data directory already: stop it first, {ALTERNATIVES}"
                )
            time.sleep(POLL_SECONDS)
    return identity


def _port_taken(port: int) -> str:
    return (
        f"port {port} of the broker is taken by another program: stop it, or name a free one below 32768 with "
        f"STREAMGAUGE_BROKER_PORT (the controller's port is chosen anew after removing run/broker.json), {ALTERNATIVES}"
    )


def _refuse_full_disk(root: Path) -> None:
    free = shutil.disk_usage(root).free
    if free < LEAST_FREE_BYTES:
        raise BrokerFailed(_disk_full(root, f"{free // 1024**2} MB left"))


def _disk_full(root: Path, words: str) -> str:
    return f"the disk is full ({words}): free some space under {root}, name another --data-dir, {ALTERNATIVES}"


def _format(directory: DataDirectory, artifact: Artifact, identity: Identity) -> None:
    options = java_options(DEFAULT_HEAP_MB, _temporary(directory))
    tool = ["kafka.tools.StorageTool", "format", "--config", "run/server.properties"]
    # An interrupted format is finished by the next one: it has the same id from run/broker.json.
    tool += ["--cluster-id", identity.cluster_id, "--ignore-formatted"]
    command = [str(artifact.java), *options, "-cp", _classpath(artifact), *tool]
    with open(_output(directory), "wb") as output:
        done = subprocess.run(
            command,
            cwd=directory.root,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            umask=0o077,
            timeout=START_SECONDS,
            check=False,
        )
    if done.returncode != 0:
        raise BrokerFailed(why_it_ended(directory, _output(directory)))


def _command(directory: DataDirectory, artifact: Artifact, heap_mb: int) -> list[str]:
    options = java_options(heap_mb, _temporary(directory))
    return [str(artifact.java), *options, "-cp", _classpath(artifact), "kafka.Kafka", "run/server.properties"]


def _classpath(artifact: Artifact) -> str:
    return os.pathsep.join(map(str, artifact.classpath))


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}
    # Java reads the data directory's name, and words its errors, by the locale: any name, and words we know.
    return kept | {"LC_ALL": "C.UTF-8"}


def _temporary(directory: DataDirectory) -> Path:
    return directory.run / "tmp"


def _output(directory: DataDirectory) -> Path:
    """Where the child's own streams go: what the Java machine says, and errors, of the last start only."""
    return directory.logs / "broker.out"


def why_it_ended(directory: DataDirectory, output: Path) -> str:
    """One line for a server that ended while starting, from what it wrote to its standard streams."""
    reason = _reason(output)
    taken = re.search(rf"{HOST}:(\d+): Address already in use", reason)
    if taken:
        return _port_taken(int(taken[1]))
    refused = re.search("No space left on device|Disk quota exceeded|File too large", reason)
    if refused or shutil.disk_usage(directory.root).free < LEAST_FREE_BYTES:
        return _disk_full(directory.root, refused[0] if refused else "no space left")
    if "heap" in reason.lower() or "enough space" in reason:
        advice = "choose another STREAMGAUGE_BROKER_HEAP_MB"
    else:
        advice = f"see {directory.logs / 'broker.log'}"
    return f"the broker ended while starting: {reason}; {advice}, {ALTERNATIVES}"


def _reason(output: Path) -> str:
    """The first line that is an error: the later ones only say what followed from it."""
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    telling = [line for line in lines if line.strip() and not line.startswith(("WARNING:", "Error occurred during"))]
    errors = [line.removeprefix("ERROR ") for line in telling if line.startswith("ERROR ")]
    return (errors or telling or ["it said nothing"])[0].strip(" .")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _die_with_parent() -> None:
    # Runs between fork and exec, where only async-signal-safe work is sound: one system call, library already loaded.
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
