"""What a webhook is told of one thing that happened, before it is written in the format of a surface."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any


@dataclass(frozen=True, slots=True)
class Notice:
    """One message to one webhook. The id is the same however often the same thing is found to have happened."""

    id: str
    webhook_id: str
    project_id: int
    event: str
    at: datetime
    data: dict[str, Any]


def notice_id(*parts: str | int) -> str:
    """An id made of what happened and whom it is told."""
    text = "\0".join(map(str, parts))
    return f"msg_{blake2b(text.encode(), digest_size=16).hexdigest()}"
