"""Watches the disk of the embedded broker: a full one would break the log, so the door closes before."""

import asyncio
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

_SHARE = 0.05
_SECONDS = 2.0


def is_embedded(broker_file: Path, bootstrap_servers: str | None) -> bool:
    """Whether the broker in use is the one that keeps its log in this data directory."""
    try:
        port = json.loads(broker_file.read_bytes())["port"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bootstrap_servers in (f"127.0.0.1:{port}", f"localhost:{port}")


def is_full(directory: Path, min_free_bytes: int) -> bool:
    """Less than the bytes, or less than 5 %, is free; raises OSError."""
    usage = shutil.disk_usage(directory)
    return usage.free < max(min_free_bytes, usage.total * _SHARE)


async def watch_disk(directory: Path, min_free_bytes: int, tell: Callable[[bool], None]) -> None:
    """Tell, again and again, whether the disk is full; ends by cancellation."""
    was_full = False
    while True:
        try:
            full = await asyncio.to_thread(is_full, directory, min_free_bytes)
        except OSError as error:
            logger.error("cannot look at the disk of the data directory: %s", error)
            full = True
        if full != was_full:
            logger.warning("disk is full, events are refused" if full else "disk has room again")
        was_full = full
        tell(full)
        await asyncio.sleep(_SECONDS)
