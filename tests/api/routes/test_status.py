"""The public status of the native surface."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from schemas.live import PartitionStatus
from storage.meta.checks import Check, record_check
from tests.api.dialects.world import serving


def test_the_status_is_for_everybody(tmp_path: Path) -> None:
    with serving(tmp_path) as world:
        before = world.client.get("/api/v1/status").json()
        names = ["ok", "version", "uptimeSeconds", "log", "lake", "workers", "lagSeconds", "latest"]
        assert list(before) == names
        assert (before["ok"], before["log"], before["workers"], before["lagSeconds"]) == (True, "ok", 0, 0)
        at = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(hours=1)
        record_check(world.services.database, Check(at, True, 7))
        now = int(datetime.now(UTC).timestamp() * 1000)
        behind = PartitionStatus("log", 0, 9, 5, 9, "live", now, now, now - 4000, "worker-0", None, now)
        world.services.live.apply(behind)

        after = world.client.get("/compat/jcht/api/v1/status").json()
        assert after["workers"] == 1
        assert 4 <= after["lagSeconds"] < 60
        assert after["latest"] == {"checkedAt": f"{at:%Y-%m-%dT%H:%M:%S}.000Z", "ok": True, "latencyMs": 7}
        history = world.client.get("/api/v1/status/history", params={"days": "500"}).json()["data"]
        assert list(history[-1]) == ["date", "total", "okCount", "uptimePct", "avgLatencyMs"]

        world.services.producer.refusal = "breaker open"  # type: ignore[misc]  # the fake's is a field
        assert world.client.get("/api/v1/status").json()["log"] == "breaker open"
        world.services.producer.refusal = None  # type: ignore[misc]
