"""Messages from the outbox to a receiver that knows nothing of the sender but its documentation."""

import asyncio
import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from api.webhooks import dispatcher
from api.webhooks.courier import Courier, Outcome
from api.webhooks.dispatcher import LEASE_LENGTH, Dispatcher, next_attempt
from schemas.kept import Delivery, Webhook, WebhookFormat
from schemas.notices import Notice, notice_id
from storage.errors import Unavailable
from storage.meta.activities import Actor
from storage.meta.engine import open_metadata
from storage.meta.initialisation import initialise
from storage.meta.kept import Kept, KeptRepository
from storage.meta.leases import hold
from storage.meta.outbox import note_attempt, tell
from storage.meta.sealing import Sealer
from tests.api.webhooks.receiver import Receiver, receiving

START = datetime(2026, 2, 1, tzinfo=UTC)
SECRET = b"whsec_test"


class Desk:
    """Two tenants, a receiver, and a dispatcher whose clock stands still until it is moved."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self.receiver: Receiver = stack.enter_context(receiving(root / "receiver"))
        self.metadata = stack.enter_context(open_metadata(f"sqlite:///{root / 'meta.db'}", root / "rev"))
        self.metadata.migrate()
        self.shop, self.other = (
            initialise(self.metadata, f"{name}@example.org", "correct horse battery", name, f"{name}.example", START)
            for name in ("ann", "eve")
        )
        self.things = KeptRepository(self.metadata, Sealer([b"0123456789abcdef" * 2]), lambda _: None)
        self.now = START
        self._number = 0

    def dispatcher(self, **options: Any) -> Dispatcher:
        context = ssl.create_default_context(cafile=self.receiver.authority)
        chosen: dict[str, Any] = {"allows_private": True, "context": context}
        return Dispatcher(self.things, Courier(**chosen | options), self.clock)

    def clock(self) -> datetime:
        return self.now

    def hook(self, form: WebhookFormat = "zta", *, url: str | None = None, is_others: bool = False) -> str:
        events = ("goal.completed",) if form == "ovyxa" else ("event",)
        body = Webhook(url=url or self.receiver.url, events=events, format=form)
        project = (self.other if is_others else self.shop).project.id
        return self.things.create(project, body, None, START, secret=SECRET).id

    def put(self, hook: str, number: int = 1, *, is_others: bool = False) -> list[str]:
        project = (self.other if is_others else self.shop).project.id
        self._number += number
        notices = [
            Notice(notice_id(hook, n), hook, project, "event", self.now, {"action": "ä", "value": float(n)})
            for n in range(self._number - number, self._number)
        ]
        assert tell(self.metadata, "log", {}, notices) == 0
        return [notice.id for notice in notices]

    def webhook(self, hook: str) -> Webhook:
        found = self.things.get(Webhook, self.shop.project.id, hook)
        assert found is not None
        return found.body

    def deliveries(self, hook: str) -> list[Delivery]:
        found: list[Kept[Delivery]] = self.things.all(Delivery, self.shop.project.id, parent_id=hook)
        return [thing.body for thing in found]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with ExitStack() as stack:
        yield Desk(tmp_path, stack)


async def work(sender: Dispatcher) -> None:
    await sender.step()
    await sender.idle()


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def verified(receiver: Receiver, name: str = "ZTA") -> list[dict[str, Any]]:
    """What came, each signature checked as the documentation says: over the exact bytes, and over their repetition."""
    found = []
    for _, headers, body in receiver.requests:
        again = json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False).encode()
        for signed in (body, again):
            expected = "sha256=" + hmac.new(SECRET, signed, hashlib.sha256).hexdigest()
            assert headers[f"X-{name}-Signature"] == expected
        found.append(json.loads(body))
    return found


@pytest.mark.parametrize(("form", "name"), [("zta", "ZTA"), ("native", "Streamgauge"), ("ovyxa", "Ovyxa")])
def test_signed_and_in_order(desk: Desk, form: WebhookFormat, name: str) -> None:
    hook = desk.hook(form)
    ids = desk.put(hook, 5)
    run(work(desk.dispatcher()))
    assert [one["data"]["value"] for one in verified(desk.receiver, name)] == [0, 1, 2, 3, 4]
    assert [headers[f"X-{name}-Delivery"] for _, headers, _ in desk.receiver.requests] == ids
    assert {headers[f"X-{name}-Webhook-ID"] for _, headers, _ in desk.receiver.requests} == {hook}
    assert {headers[f"X-{name}-Event"] for _, headers, _ in desk.receiver.requests} == {"event"}
    assert [(one.state_, one.attempts, one.response_status) for one in desk.deliveries(hook)] == [
        ("delivered", 1, 204)
    ] * 5
    assert desk.webhook(hook).last_triggered_at == START
    run(work(desk.dispatcher()))
    assert len(desk.receiver.requests) == 5


def test_the_example_of_the_documentation_verifies(desk: Desk) -> None:
    page = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text(encoding="utf-8")
    example: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], example)
    desk.put(desk.hook("native"))
    run(work(desk.dispatcher()))
    [(_, headers, body)] = desk.receiver.requests
    signature = headers["X-Streamgauge-Signature"]
    assert example["is_ours"](body, signature, SECRET.decode())
    assert not example["is_ours"](body + b" ", signature, SECRET.decode())
    assert not example["is_ours"](body, signature, "another")


@pytest.mark.parametrize(
    ("form", "outcome", "seconds"),
    [
        ("zta", Outcome(500), [5, 20]),
        ("native", Outcome(503), [5, 20]),
        ("native", Outcome(error="no answer", may_pass=True), [5, 20]),
        ("zta", Outcome(404), []),
        ("native", Outcome(302), []),
        ("ovyxa", Outcome(404), [60, 240, 1500]),
        ("ovyxa", Outcome(500), [60, 240, 1500]),
        ("ovyxa", Outcome(error="its name leads into a private network"), []),
        ("zta", Outcome(200), []),
    ],
)
def test_what_is_tried_again_and_when(form: WebhookFormat, outcome: Outcome, seconds: list[int]) -> None:
    found = []
    for attempts in range(1, 9):
        again = next_attempt(form, attempts, outcome, START)
        if again is None:
            break
        found.append(int((again - START).total_seconds()))
    assert found == seconds


def test_three_attempts_with_the_same_bytes(desk: Desk) -> None:
    hook = desk.hook()

    async def story() -> None:
        sender = desk.dispatcher()
        desk.receiver.status = 503
        desk.put(hook)
        for second, number in ((0, 1), (4, 1), (5, 2), (24, 2), (25, 3), (3600, 3)):
            desk.now = START + timedelta(seconds=second)
            await work(sender)
            assert len(desk.receiver.requests) == number, second
            [kept] = desk.deliveries(hook)
            assert (kept.attempts, kept.state_) == (number, "failed" if number == 3 else "pending")

    run(story())
    assert len({body for _, _, body in desk.receiver.requests}) == 1
    assert len({headers["X-ZTA-Delivery"] for _, headers, _ in desk.receiver.requests}) == 1
    assert desk.webhook(hook).failures == 1
    assert verified(desk.receiver)


def test_a_message_that_waits_for_its_repetition_holds_up_no_other(desk: Desk) -> None:
    hook = desk.hook()

    async def story() -> None:
        sender = desk.dispatcher()
        desk.receiver.status = 500
        desk.put(hook)
        await work(sender)
        desk.receiver.status = 204
        desk.put(hook)
        await work(sender)
        desk.now += timedelta(seconds=5)
        await work(sender)

    run(story())
    assert [one["data"]["value"] for one in verified(desk.receiver)] == [0, 1, 0]
    assert {one.state_ for one in desk.deliveries(hook)} == {"delivered"}
    assert desk.webhook(hook).failures == 0


def test_death_between_delivery_and_its_note_sends_the_same_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = desk.hook()
    desk.put(hook)

    def dies(*_: object) -> None:
        raise Unavailable("gone")

    monkeypatch.setattr(dispatcher, "note_attempt", dies)
    run(work(desk.dispatcher()))
    monkeypatch.setattr(dispatcher, "note_attempt", note_attempt)
    run(work(desk.dispatcher()))  # another process, while the dead one's lease runs
    assert len(desk.receiver.requests) == 1
    desk.now += LEASE_LENGTH
    run(work(desk.dispatcher()))
    first, second = desk.receiver.requests
    assert first[2] == second[2]
    assert first[1]["X-ZTA-Delivery"] == second[1]["X-ZTA-Delivery"]
    assert [one.state_ for one in desk.deliveries(hook)] == ["delivered"]


def test_a_slow_receiver_holds_up_no_other(desk: Desk, tmp_path: Path) -> None:
    with receiving(tmp_path / "slow") as slow:
        slow.release = threading.Event()
        context = ssl.create_default_context(cafile=desk.receiver.authority)
        context.load_verify_locations(slow.authority)
        stuck, quick = desk.hook(url=slow.url), desk.hook(is_others=True)
        desk.put(stuck, 2)
        desk.put(quick, 2, is_others=True)

        async def story() -> None:
            sender = desk.dispatcher(context=context)
            await sender.step()
            async with asyncio.timeout(10):
                while len(desk.receiver.requests) < 2 or not slow.requests:
                    await asyncio.sleep(0.01)
            assert len(slow.requests) == 1
            slow.release.set()  # type: ignore[union-attr]  # it is set above
            await sender.idle()

        run(story())
        assert len(slow.requests) == 2


def test_switched_off_or_deleted_it_is_told_nothing(desk: Desk) -> None:
    off, gone = desk.hook(), desk.hook()
    for hook in (off, gone):
        desk.put(hook, 2)
    project = desk.shop.project.id
    desk.things.change(Webhook, project, off, lambda old: replace(old, active=False), None, START)
    desk.things.delete(Webhook, project, gone, Actor(), START)
    run(work(desk.dispatcher()))
    desk.things.change(Webhook, project, off, lambda old: old.switched_on(START), None, START)
    run(work(desk.dispatcher()))
    assert desk.receiver.requests == []


def test_a_private_address_is_neither_called_nor_tried_again(desk: Desk) -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    hook = desk.hook(url="https://hooks.example.org/")
    desk.put(hook)
    run(work(desk.dispatcher(allows_private=False, resolve=resolve)))
    assert desk.receiver.requests == []
    [kept] = desk.deliveries(hook)
    assert (kept.state_, kept.attempts, kept.error) == ("failed", 1, "its name leads into a private network")


def test_a_secret_that_cannot_be_read_is_said(desk: Desk) -> None:
    hook = desk.hook()
    desk.put(hook)
    desk.things = KeptRepository(desk.metadata, Sealer([b"fedcba9876543210" * 2]), lambda _: None)
    run(work(desk.dispatcher()))
    [kept] = desk.deliveries(hook)
    assert (kept.state_, kept.error) == ("failed", "the webhook's secret cannot be read any more")


def test_one_process_sends_and_the_next_follows_at_once(desk: Desk) -> None:
    hook = desk.hook()

    async def story() -> None:
        first, second = desk.dispatcher(), desk.dispatcher()
        running = asyncio.create_task(first.run())
        desk.put(hook)
        async with asyncio.timeout(10):
            while not desk.deliveries(hook):
                await asyncio.sleep(0.01)
        desk.put(hook)
        await work(second)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        desk.now += timedelta(seconds=5)
        await work(second)

    run(story())
    assert [one["data"]["value"] for one in verified(desk.receiver)][:1] == [0]
    assert {one["data"]["value"] for one in verified(desk.receiver)} == {0, 1}
    assert not hold(desk.metadata, dispatcher.LEASE, "third", desk.now, LEASE_LENGTH)
