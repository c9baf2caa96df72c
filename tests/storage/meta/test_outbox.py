"""The outbox and its positions, on both databases."""

import secrets
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from schemas.kept import Delivery, Goal, Webhook
from schemas.notices import Notice, notice_id
from schemas.projects import Project
from storage.meta import posting
from storage.meta.activities import Actor
from storage.meta.engine import Metadata
from storage.meta.kept import KeptRepository
from storage.meta.leases import give_up, hold
from storage.meta.outbox import (
    Moved,
    after_message,
    drop_messages,
    messages_due,
    note_attempt,
    tell,
    told_positions,
    webhooks_due,
)
from storage.meta.projects import delete_project, ensure_project, finish_purge
from storage.meta.sealing import Sealer
from tests.storage.meta.conftest import NOW

SECOND = timedelta(seconds=1)
DONE = Delivery(event="event", payload="{}", message_id="m", attempts=1, state_="delivered", response_status=204)
FAILED = replace(DONE, state_="failed", response_status=500)


@pytest.fixture
def things(metadata: Metadata) -> KeptRepository:
    return KeptRepository(metadata, Sealer([secrets.token_hex(32).encode()]), lambda _: None)


@pytest.fixture
def shop(metadata: Metadata, account_id: int) -> Project:
    return ensure_project(metadata, account_id, "Shop", None, NOW)


@pytest.fixture
def hook(things: KeptRepository, shop: Project) -> str:
    return things.create(shop.id, Webhook(url="https://hooks.example.org/", events=("event",)), None, NOW).id


def notice(hook: str, number: int, shop: Project, at: datetime = NOW) -> Notice:
    return Notice(notice_id(number, hook), hook, shop.id, "event", at, {"n": number, "name": "ä"})


def due(metadata: Metadata, hook: str, at: datetime = NOW) -> list[int]:
    return [waiting.notice.data["n"] for waiting in messages_due(metadata, hook, at, 100)]


def test_messages_and_positions_go_in_together_and_once(metadata: Metadata, shop: Project, hook: str) -> None:
    first = [notice(hook, 1, shop), notice(hook, 2, shop)]
    assert tell(metadata, "log", {0: (None, 5), 3: (None, 1)}, first) == 0
    for stood in (None, 4):
        with pytest.raises(Moved):
            tell(metadata, "log", {3: (1, 2), 0: (stood, 6)}, [notice(hook, 3, shop)])
    assert told_positions(metadata, "log") == {0: 5, 3: 1}
    assert tell(metadata, "log", {0: (5, 7)}, [first[1], notice(hook, 4, shop)]) == 0
    assert told_positions(metadata, "log") == {0: 7, 3: 1}
    assert told_positions(metadata, "another log") == {}
    assert due(metadata, hook) == [1, 2, 4]
    assert messages_due(metadata, hook, NOW, 1)[0].notice == first[0]


def test_a_receiver_that_is_too_slow_loses_what_is_beyond(
    metadata: Metadata, shop: Project, hook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "MOST_WAITING", 3)
    assert tell(metadata, "log", {}, [notice(hook, n, shop) for n in range(2)]) == 0
    assert tell(metadata, "log", {}, [notice(hook, n, shop) for n in range(2, 5)] + [notice("wh_2", 9, shop)]) == 2
    assert due(metadata, hook) == [0, 1, 2]
    assert due(metadata, "wh_2") == [9]


def test_what_became_of_a_message(metadata: Metadata, things: KeptRepository, shop: Project, hook: str) -> None:
    tell(metadata, "log", {}, [notice(hook, 1, shop), notice(hook, 2, shop)])
    assert (webhooks_due(metadata, NOW - SECOND), webhooks_due(metadata, NOW)) == ([], [hook])
    first, second = messages_due(metadata, hook, NOW, 10)
    pending = replace(FAILED, state_="pending")
    noted = note_attempt(things, first, pending, NOW + 5 * SECOND, NOW)
    assert noted is not None
    assert noted.failures == 0
    assert due(metadata, hook) == [2]
    assert note_attempt(things, second, DONE, None, NOW) == things.all(Webhook, shop.id)[0].body
    assert things.all(Webhook, shop.id)[0].body.last_triggered_at == NOW
    [again] = messages_due(metadata, hook, NOW + 5 * SECOND, 10)
    assert (again.notice, again.attempts) == (first.notice, 1)
    note_attempt(things, again, replace(FAILED, attempts=2), None, NOW)
    assert webhooks_due(metadata, NOW + timedelta(days=1)) == []
    kept = [thing.body for thing in things.all(Delivery, shop.id, parent_id=hook)]
    assert kept == [replace(FAILED, attempts=2), DONE]
    assert things.all(Webhook, shop.id)[0].body.failures == 1


def test_a_webhook_that_is_gone_leaves_nothing(
    metadata: Metadata, things: KeptRepository, shop: Project, hook: str, account_id: int
) -> None:
    tell(metadata, "log", {}, [notice(hook, 1, shop), notice(hook, 2, shop)])
    [waiting, _] = messages_due(metadata, hook, NOW, 10)
    things.delete(Webhook, shop.id, hook, Actor(account_id), NOW)
    assert note_attempt(things, waiting, DONE, None, NOW) is None
    assert due(metadata, hook) == []
    tell(metadata, "log", {}, [notice(hook, 3, shop)])
    drop_messages(metadata, hook)
    assert due(metadata, hook) == []


def test_a_purged_project_leaves_nothing(metadata: Metadata, shop: Project, hook: str, account_id: int) -> None:
    tell(metadata, "log", {}, [notice(hook, 1, shop)])
    ensure_project(metadata, account_id, "Other", None, NOW)
    delete_project(metadata, shop.id, Actor(account_id), NOW, timedelta(0))
    finish_purge(metadata, shop.id, NOW)
    assert due(metadata, hook) == []


def test_switched_off_after_too_many_failures_over_too_long() -> None:
    webhook = Webhook(url="https://hooks.example.org/", events=("event",))
    for n in range(30):  # an outage of half a minute
        webhook = after_message(webhook, False, NOW + n * SECOND)
    assert (webhook.active, webhook.failures, webhook.failing_since) == (True, 30, NOW)
    assert after_message(webhook, False, NOW + Webhook.patience).active is False
    webhook = after_message(webhook, True, NOW + Webhook.patience)
    assert (webhook.active, webhook.failures, webhook.failing_since) == (True, 0, None)
    for hour in range(19):
        webhook = after_message(webhook, False, NOW + timedelta(hours=hour))
    assert webhook.active
    webhook = after_message(webhook, False, NOW + timedelta(hours=19))
    assert not webhook.active
    later = NOW + timedelta(days=1)
    on = webhook.switched_on(later)
    assert (on.active, on.failures, on.failing_since, on.active_since) == (True, 0, None, later)


def test_switching_off_drops_what_waits(metadata: Metadata, things: KeptRepository, shop: Project, hook: str) -> None:
    def worn(old: Webhook) -> Webhook:
        return replace(old, failures=Webhook.most_failures - 1, failing_since=NOW - Webhook.patience)

    things.change(Webhook, shop.id, hook, worn, None, NOW)
    tell(metadata, "log", {}, [notice(hook, 1, shop), notice(hook, 2, shop)])
    noted = note_attempt(things, messages_due(metadata, hook, NOW, 1)[0], FAILED, None, NOW)
    assert noted is not None
    assert not noted.active
    assert due(metadata, hook) == []


def test_one_holder_at_a_time(metadata: Metadata) -> None:
    length = 10 * SECOND
    assert hold(metadata, "webhooks", "a", NOW, length)
    assert not hold(metadata, "webhooks", "b", NOW + 9 * SECOND, length)
    assert hold(metadata, "alerts", "b", NOW, length)
    assert hold(metadata, "webhooks", "a", NOW + 9 * SECOND, length)
    assert not hold(metadata, "webhooks", "b", NOW + 18 * SECOND, length)
    assert hold(metadata, "webhooks", "b", NOW + 19 * SECOND, length)
    assert not hold(metadata, "webhooks", "a", NOW + 20 * SECOND, length)
    give_up(metadata, "webhooks", "a")
    assert not hold(metadata, "webhooks", "a", NOW + 20 * SECOND, length)
    give_up(metadata, "webhooks", "b")
    assert hold(metadata, "webhooks", "a", NOW + 20 * SECOND, length)


def test_changes_are_told_in_the_transaction_that_makes_them(
    metadata: Metadata, things: KeptRepository, shop: Project, hook: str, account_id: int
) -> None:
    other = ensure_project(metadata, account_id, "Other", None, NOW)
    watcher = Webhook(url="https://hooks.example.org/", events=("activity",))
    mine = things.create(shop.id, watcher, None, NOW).id
    things.create(shop.id, replace(watcher, active=False), None, NOW)
    goal = things.create(shop.id, Goal(name="ä", type="event", event="signup"), Actor(account_id), NOW)
    things.create(other.id, Goal(name="b", type="event", event="signup"), Actor(account_id), NOW)
    assert webhooks_due(metadata, NOW) == [mine]
    [waiting] = messages_due(metadata, mine, NOW, 9)
    assert waiting.notice.event == "activity"
    assert waiting.notice.data | {"activityId": "x"} == {
        "activityId": "x",
        "type": "goal",
        "action": "goal.created",
        "target": {"type": "goal", "id": goal.id, "name": "ä"},
    }
