"""One message of a webhook: its bytes in the format of each surface, and the signature over exactly them."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from schemas.instants import format_instant, to_millis
from schemas.kept import WebhookFormat
from schemas.projects import Project

# `X-<name>-Signature`, `-Event`, `-Webhook-ID`.
_NAMES: Final[dict[WebhookFormat, str]] = {"native": "Streamgauge", "zta": "ZTA", "ovyxa": "Ovyxa"}


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent, also again: a repeated one is byte for byte the same."""

    body: bytes
    headers: Mapping[str, str] = field(repr=False)


def message(
    form: WebhookFormat,
    webhook_id: str,
    secret: bytes,
    project: Project,
    event: str,
    data: Mapping[str, Any],
    at: datetime,
    message_id: str,
) -> Message:
    """A message about an event of a project; receivers verify `HMAC-SHA256(secret, body)` before they read it."""
    when = format_instant(to_millis(at))
    said: dict[str, Any]
    match form:
        case "native":
            said = {"id": message_id, "event": event, "timestamp": when, "projectId": project.id, "data": dict(data)}
        case "zta":
            said = {"event": event, "timestamp": when, "data": {"siteId": project.site_id, **data}}
        case "ovyxa":
            said = {"event": event, "timestamp": when, "site_id": project.site_id, "data": dict(data)}
    # Compact, non-ASCII as it is and whole numbers without a point: as JavaScript would write it again.
    body = msgspec.json.encode(_whole(said))
    name = _NAMES[form]
    headers = {
        f"X-{name}-Signature": f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}",
        f"X-{name}-Event": event,
        f"X-{name}-Webhook-ID": webhook_id,
        f"X-{name}-Delivery": message_id,
    }
    return Message(body, headers)


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(item) for item in value]
    return value
