"""kill -9 around the step that tells webhooks: after the restart every event of the lake is told, and once."""

import json
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from schemas.kept import Goal, Webhook
from storage.meta.engine import Metadata, open_metadata
from storage.meta.kept import KeptRepository
from storage.meta.models import outbox
from storage.meta.sealing import Sealer
from tests.faults.river import PATIENCE_SECONDS, River, wait_for

STEPS = ("before F4", "after F4", "after F6", "before F9", "after F9")


def told(metadata: Metadata, webhook: str) -> Counter[str]:
    """The ids of the events in the outbox, each as often as it is there."""
    with metadata.read() as connection:
        rows = connection.execute(select(outbox.c.data).where(outbox.c.webhook_id == webhook)).scalars()
        return Counter(json.loads(data)["eventId"] for data in rows)


@pytest.mark.timeout(400)
def test_death_around_the_outbox_loses_and_doubles_nothing(river: River) -> None:
    directory = river.settings.directory
    with open_metadata(river.settings.metadata_url, directory.key_revision) as metadata:
        things = KeptRepository(metadata, Sealer([b"0123456789abcdef" * 2]), lambda _: None)
        before = datetime.now(UTC) - timedelta(minutes=1)
        every, some = (
            things.create(river.project, Webhook(url="https://hooks.example.org/", events=(event,)), None, before).id
            for event in ("event", "goal")
        )
        things.create(river.project, Goal(name="One", type="event", event="kind-1"), None, before)
        for number, step in enumerate(STEPS):
            river.send(14)
            worker = river.start(f"worker-{number}", crash_at=step, kafka_group=f"{river.group}-{number}")
            assert worker.wait(PATIENCE_SECONDS) == -signal.SIGKILL, f"{step}: {river.tail()}"
        river.send(14)
        river.start("worker-last")
        river.drain()
        sent = Counter({event_id: 1 for _, event_id in river.sent.ids})
        wait_for(lambda: told(metadata, every).total() >= sent.total(), river.tail)
        assert river.stop("worker-last") == 0, river.tail()
        assert told(metadata, every) == sent
        # The number of the record says what its events are called.
        assert told(metadata, some) == Counter({one: 1 for one in sent if int(one[1:].partition("-")[0]) % 3 == 1})
        assert river.judge() == []
