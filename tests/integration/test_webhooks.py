"""Messages to a receiver from the real processes, some of which are killed while they work."""

import hashlib
import hmac
import json
import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.api.webhooks.receiver import receiving
from tests.integration.system import running, wait_until


@pytest.mark.timeout(300)
def test_every_event_arrives_signed_whoever_is_killed(tmp_path: Path) -> None:
    with receiving(tmp_path / "receiver") as receiver:
        named = {
            "SSL_CERT_FILE": str(receiver.authority),
            "STREAMGAUGE_WEBHOOK_ALLOW_PRIVATE": "true",
            "STREAMGAUGE_FLUSH_AGE_SECONDS": "1",
        }
        with running(tmp_path / "data", named) as system, httpx.Client(base_url=system.url, timeout=30) as client:
            system.initialise()
            client.headers["X-API-Key"] = system.keys["jcht"]
            hook = {"url": receiver.url, "events": ["event", "goal"]}
            made = client.post("/api/v1/webhooks", json=hook).json()
            goal = {"name": "Bought", "type": "event", "event": "buy", "value": 2}
            assert client.post("/api/v1/goals", json=goal).status_code == 201
            sent: set[str] = set()
            for victim in ("worker-0", "api", ""):
                batch = [{"event": ("buy", "look")[n % 2], "eventId": f"{victim}-{n}"} for n in range(20)]
                assert client.post("/api/v1/events/batch", json={"events": batch}).status_code == 200
                sent |= {str(one["eventId"]) for one in batch}
                if victim:
                    os.kill(system.pid(victim), signal.SIGKILL)
                    wait_until(lambda: "api" in system.processes() and _answers(system.url), 60, system.logs)

            def told(event: str) -> set[str]:
                bodies = [json.loads(body) for _, _, body in list(receiver.requests)]
                return {body["data"]["eventId"] for body in bodies if body["event"] == event}

            wait_until(lambda: told("event") == sent, 60, lambda: f"{sent - told('event')}\n{system.logs()}")
            bought = {one for one in sent if int(one.rpartition("-")[2]) % 2 == 0}
            wait_until(lambda: told("goal") == bought, 30, system.logs)
            deliveries = client.get(f"/api/v1/webhooks/{made['id']}/deliveries").json()["data"]
            assert deliveries
            assert {one["state"] for one in deliveries} <= {"delivered", "pending"}
        by_id: dict[str, bytes] = {}
        for _, headers, body in receiver.requests:
            expected = hmac.new(made["secret"].encode(), body, hashlib.sha256).hexdigest()
            assert headers["X-Streamgauge-Signature"] == f"sha256={expected}"
            # What is sent again is the same message; nothing is told under two ids.
            assert by_id.setdefault(headers["X-Streamgauge-Delivery"], body) == body
        assert len(by_id) == len(sent) + len(bought)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
