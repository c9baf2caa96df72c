"""What a webhook is told of one thing that happened, before it is written in the format of a surface."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any

from schemas.kept import Goal, WebhookFormat


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


def goal_data(
    form: WebhookFormat,
    goal_id: str,
    goal: Goal,
    *,
    path: str | None,
    value: float | None = None,
    url: str | None = None,
    source: str | None = None,
    country: str | None = None,
) -> dict[str, Any]:
    """What is told of a goal that was reached; an event's own value goes before the goal's."""
    if form == "ovyxa":
        return {
            "goal_name": goal.name,
            "visitor_count": 1,
            "url": url or path,
            "source": source or "Direct",
            "country": country,
        }
    return {"goalId": goal_id, "goalName": goal.name, "path": path, "value": goal.value if value is None else value}
