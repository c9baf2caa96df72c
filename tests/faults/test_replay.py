"""The same again: client retries, a whole topic replayed, one id for two payloads or two projects."""

import json
from datetime import UTC, datetime

from confluent_kafka import Consumer, TopicPartition
from deltalake import DeltaTable

from storage.meta.accounts import ensure_account
from storage.meta.engine import open_metadata
from storage.meta.projects import ensure_project
from tests.faults.checker import read
from tests.faults.river import River


def test_retries_and_a_replayed_topic_are_counted_not_stored(river: River) -> None:
    def line(number: int) -> bytes:
        return json.dumps({"event": "a", "eventId": f"r{number}", "userId": "u"}).encode()

    for _ in range(3):  # a client that did not hear the answer sends its batch again
        river.put(0, [line(number) for number in range(20)])
        river.sent.ids.update((river.project, f"r{number}") for number in range(20))
    river.send(12, bad_every=0)
    river.settle()
    worker = river.start()
    river.drain()
    before = river.ends()
    consumer = Consumer({"bootstrap.servers": river.servers, "group.id": river.topic, "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(river.topic, p, 0) for p in before])
    for _ in range(sum(before.values())):
        message = consumer.poll(30)
        assert message is not None
        assert message.error() is None
        headers = message.headers() or []
        assert isinstance(headers, list)
        river.produce(message.partition() or 0, message.value(), [(k, v) for k, v in headers if isinstance(v, bytes)])
    consumer.close()
    river.settle()
    for key in list(river.sent.ids):
        river.sent.ids[key] *= 2
    river.drain()
    assert river.sent.duplicates == 2 * 20 * 3 + 2 * 120 - 20 - 120
    assert river.judge() == []
    assert worker.poll() is None


def test_first_of_one_id_wins_and_another_project_is_another_event(river: River) -> None:
    with open_metadata(river.settings.metadata_url, river.settings.directory.key_revision) as metadata:
        account = ensure_account(metadata, "a@example.org", "a password for tests", datetime.now(UTC))
        other = ensure_project(metadata, account.id, "other", None, datetime.now(UTC)).id
    for project, event in ((river.project, "first"), (river.project, "second"), (other, "third")):
        fields = {"event": event, "projectId": project, "eventId": "same", "userId": event}
        river.produce(0, json.dumps(fields).encode())
        river.sent.ids[project, "same"] += 1
    river.settle()
    river.start()
    river.drain()
    assert river.judge() == []
    rows = read(DeltaTable(str(river.lake / "events")))
    assert sorted(rows["event"]) == ["first", "third"]
