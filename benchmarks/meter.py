"""What a run costs: CPU and memory of processes, the yardstick R, and the machine it ran on."""

import os
import platform
import statistics
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Raw, Struct

from benchmarks.workload import Workload

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PACKAGES: Final = (
    "confluent-kafka",
    "deltalake",
    "duckdb",
    "fastapi",
    "faust-streaming",
    "msgspec",
    "pyarrow",
    "uvicorn",
)


class _Narrow(Struct, gc=False, rename="camel"):
    event: str
    user_id: str
    event_id: str
    timestamp: str
    properties: Raw


def yardstick() -> float:
    """R: CPU microseconds to decode one narrow event, of a list of 100, by msgspec; the median of several tries."""
    decoder = msgspec.json.Decoder(list[_Narrow])
    body = Workload(1, "narrow").batch(100)
    tries = []
    for _ in range(9):
        started = time.process_time()
        for _ in range(50):
            decoder.decode(body)
        tries.append(time.process_time() - started)
    # Not the best of them: what is compared with R shared the machine's caches, too.
    return statistics.median(tries) / 5000 * 1e6


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process so far."""
    # The name in parentheses may hold anything, so fields are counted from its end.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def peak_bytes(pid: int) -> int:
    """The most memory that a process ever had in RAM."""
    found = next(line for line in _lines(f"/proc/{pid}/status") if line.startswith("VmHWM:"))
    return int(found.split()[1]) * 1024


class CpuMeter:
    """CPU of named processes from its making on."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._before = {name: cpu_seconds(pid) for name, pid in pids.items()}

    def read(self) -> dict[str, float]:
        """CPU seconds of each process since."""
        return {name: cpu_seconds(pid) - self._before[name] for name, pid in self._pids.items()}


def machine() -> dict[str, str]:
    """The machine and the versions that the figures depend on."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "processor": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / 1024**2:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
