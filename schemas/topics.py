"""The two topics: what they must be configured as, and which partition an event goes to."""

from xxhash import xxh3_64_intdigest

EVENTS_TOPIC_CONFIG: dict[str, str] = {
    "cleanup.policy": "delete",
    "retention.ms": str(7 * 24 * 3600 * 1000),
    # By bytes, the log could drop what was never read; the door watches the disk instead.
    "retention.bytes": "-1",
    "segment.bytes": str(64 * 1024 * 1024),
    # Kafka 4 refuses producers whose clock is an hour ahead; the log's own clock is used.
    "message.timestamp.type": "LogAppendTime",
    "max.message.bytes": str(1024 * 1024 + 64 * 1024),
}

LIVE_TOPIC_CONFIG: dict[str, str] = {
    "cleanup.policy": "compact,delete",
    "retention.ms": str(48 * 3600 * 1000),
    "segment.ms": str(3600 * 1000),
    "min.cleanable.dirty.ratio": "0.2",
}


def partition_of(project: int, distinct_id: str, event_id: str, partitions: int) -> int:
    """One person's events share a partition; an event of nobody goes by its own id."""
    return xxh3_64_intdigest(f"{project}/{distinct_id or event_id}".encode()) % partitions
