"""What the server is told: its ports, its properties, its memory and its log, each with the reason."""

import json
import os
import random
import socket
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from storage.errors import BrokerFailed

HOST = "127.0.0.1"
# Below the range a kernel takes client ports from (32768 and up): there a client that keeps reconnecting to a stopped
# broker ends up connected to itself, and the broker can never bind its port again.
PORTS = range(20_000, 32_000)
NODE_ID = 1
DEFAULT_HEAP_MB = 384


@dataclass(frozen=True, slots=True)
class Identity:
    """What stays the same over all restarts of one broker; `run/broker.json` keeps it, with the pid of the moment."""

    cluster_id: str
    port: int
    controller_port: int

    @classmethod
    def new(cls, port: int | None, cluster_id: str | None = None) -> Self:
        """Ports that are free now; a given one is taken as it is."""
        chosen = port or free_port(without=frozenset())
        return cls(cluster_id or new_cluster_id(), chosen, free_port(without=frozenset({chosen})))


def new_cluster_id() -> str:
    """A random id in Kafka's own form, which refuses a leading dash (a command line takes it for an option)."""
    while (text := urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def free_port(without: frozenset[int]) -> int:
    for port in random.sample(PORTS, 200):
        if port not in without and is_free(port):
            return port
    raise BrokerFailed(f"no free port between {PORTS.start} and {PORTS.stop} for the broker: stop something")


def is_free(port: int) -> bool:
    """Whether the server could listen there; like Java, with SO_REUSEADDR, so that a closing connection is no bar."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def read_identity(broker_file: Path, kafka: Path) -> Identity | None:
    """The identity of an earlier start; the id on the disk is the truth, since the data belongs to that cluster."""
    try:
        kept = json.loads(broker_file.read_bytes())
        identity = Identity(kept["clusterId"], int(kept["port"]), int(kept["controllerPort"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    formatted = formatted_cluster_id(kafka)
    return Identity(formatted, identity.port, identity.controller_port) if formatted else identity


def read_pid(broker_file: Path) -> int | None:
    """The pid that the file names; whether that process still lives is another question."""
    try:
        return int(json.loads(broker_file.read_bytes())["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def formatted_cluster_id(kafka: Path) -> str | None:
    """The cluster id that the data below `kafka` belongs to, or None where nothing was formatted yet."""
    try:
        lines = (kafka / "meta.properties").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    return next((line.partition("=")[2] for line in lines if line.startswith("cluster.id=")), None)


def write_identity(broker_file: Path, identity: Identity, pid: int | None) -> None:
    content = {
        "pid": pid,
        "port": identity.port,
        "controllerPort": identity.controller_port,
        "clusterId": identity.cluster_id,
    }
    write_atomically(broker_file, json.dumps(content) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """A reader sees the old file or the new one; the name of the new one carries our pid, so two writers never mix."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def java_options(heap_mb: int, temporary: Path) -> list[str]:
    """Options of the Java machine."""
    return [
        # Serial GC: 225 MB after load where G1 took 521; a broker of a few partitions has no use for parallel pauses.
        f"-Xms{min(64, heap_mb)}m",
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",
        # A broker that ran out of memory answers nothing and dies of nothing: end it, so that it is started again.
        "-XX:+ExitOnOutOfMemoryError",
        # No file under /tmp that outlives a kill -9: neither counters nor the unpacked compression libraries.
        "-XX:-UsePerfData",
        f"-Djava.io.tmpdir={temporary}",
        "-Djava.awt.headless=true",
        "-Dlog4j2.configurationFile=run/log4j2.properties",
    ]


def server_properties(identity: Identity) -> str:
    """server.properties; paths are relative to the data directory, where the server runs, so no name needs escaping."""
    return f"""\
# Written anew at each start. One node is broker and controller at once: KRaft, without ZooKeeper.
process.roles=broker,controller
node.id={NODE_ID}
controller.quorum.voters={NODE_ID}@{HOST}:{identity.controller_port}
# Plaintext, so loopback only.
listeners=PLAINTEXT://{HOST}:{identity.port},CONTROLLER://{HOST}:{identity.controller_port}
advertised.listeners=PLAINTEXT://{HOST}:{identity.port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs=kafka
# Two threads each are enough for one host; every further one costs memory.
num.network.threads=2
num.io.threads=2
# One broker can hold one copy; internal topics ask for three by default and would never be made.
default.replication.factor=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# 50 partitions each by default: 50 open logs for one consumer group.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
share.coordinator.state.topic.num.partitions=4
# The first worker starts at once instead of waiting 3 s for others.
group.initial.rebalance.delay.ms=0
# After a kill -9 the controller refuses the new broker until the old one's session is over: 9 s by default. A pause
# longer than this only makes the one broker register again.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# A mistyped name is an error, not an empty topic; `up` creates the topics with their own settings.
auto.create.topics.enable=false
# 128 MB by default, a third of the heap; 16 MB still compacts 700,000 keys in one pass.
log.cleaner.dedupe.buffer.size=16777216
# A record of 1 MB and the overhead of its batch must pass; the topic may ask for less.
message.max.bytes=2097152
replica.fetch.max.bytes=2097152
# Stored as the producer compressed it: recompressing costs CPU and gains nothing.
compression.type=producer
# A small segment can be deleted or compacted sooner; topics of ours say their own.
log.segment.bytes=67108864
"""


LOGGING = """\
# Written anew at each start.
status = warn
# log4j's own hook would close the log before the server's ordered stop has written to it.
shutdownHook = disable
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = logs/broker.log
appender.file.filePattern = logs/broker.log.%i
appender.file.filePermissions = rw-------
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %-5p %m (%c)%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 5
# Errors also go to standard error, one line each, for the person or the parent that started the server;
# a disk that fails a thousand times a second must not fill what is left of it.
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %p %m %throwable{short.message}%n
appender.console.filter.burst.type = BurstFilter
appender.console.filter.burst.level = error
appender.console.filter.burst.rate = 1
appender.console.filter.burst.maxBurst = 100
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
rootLogger.appenderRef.console.ref = console
rootLogger.appenderRef.console.level = error
"""
