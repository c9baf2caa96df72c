"""The bytes of a message, and what signs them."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from api.webhooks.messages import message
from schemas.kept import WebhookFormat
from schemas.projects import Project

PROJECT = Project(7, 1, "Shop", "shop.example", "UTC", "site_7", "7", "7")
AT = datetime(2026, 2, 22, 10, 30, 0, 142000, tzinfo=UTC)
DATA: dict[str, Any] = {"path": "/ä", "value": 1.0, "rate": 1.5, "list": [2.0, "x"], "huge": 1e300}


@pytest.mark.parametrize(
    ("form", "expected", "name"),
    [
        (
            "native",
            (
                '{"id":"delivery_1","event":"goal","timestamp":"2026-02-22T10:30:00.142Z","projectId":7,'
                '"data":{"path":"/ä","value":1,"rate":1.5,"list":[2,"x"],"huge":1e300}}'
            ),
            "Streamgauge",
        ),
        (
            "zta",
            (
                '{"event":"goal","timestamp":"2026-02-22T10:30:00.142Z","data":{"siteId":"site_7","path":"/ä","value":1,'
                '"rate":1.5,"list":[2,"x"],"huge":1e300}}'
            ),
            "ZTA",
        ),
        (
            "ovyxa",
            (
                '{"event":"goal","timestamp":"2026-02-22T10:30:00.142Z","site_id":"site_7","data":{"path":"/ä","value":1,'
                '"rate":1.5,"list":[2,"x"],"huge":1e300}}'
            ),
            "Ovyxa",
        ),
    ],
)
def test_bytes_and_signature(form: WebhookFormat, expected: str, name: str) -> None:
    made = message(form, "wh_1", b"whsec_1", PROJECT, "goal", DATA, AT, "delivery_1")
    assert made.body == expected.encode()
    assert json.loads(made.body)["event"] == "goal"
    signature = hmac.new(b"whsec_1", made.body, hashlib.sha256).hexdigest()
    assert made.headers == {
        f"X-{name}-Signature": f"sha256={signature}",
        f"X-{name}-Event": "goal",
        f"X-{name}-Webhook-ID": "wh_1",
        f"X-{name}-Delivery": "delivery_1",
    }
    assert message(form, "wh_1", b"whsec_1", PROJECT, "goal", DATA, AT, "delivery_1") == made
    assert "whsec" not in repr(made)
