"""Whose webhooks wait for an event that nothing in the stream tells."""

import asyncio

from schemas.kept import Webhook
from storage.meta.kept import Kept, KeptRepository

Hooks = list[Kept[Webhook]]


async def waiting_for(things: KeptRepository, event: str) -> dict[int, Hooks]:
    """The active webhooks of each project that has some for this event. Raises StorageError."""
    by_project: dict[int, Hooks] = {}
    for hook in await asyncio.to_thread(things.everywhere, Webhook):
        if hook.body.active and event in hook.body.events:
            by_project.setdefault(hook.project_id, []).append(hook)
    return by_project
