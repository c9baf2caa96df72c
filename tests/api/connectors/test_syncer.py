"""Nothing lost, nothing twice, nobody held up: what a sync does while its provider, its log or its process fails."""

import asyncio
import contextlib
import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha512
from pathlib import Path

import pytest

from api.connectors import syncer as module
from api.connectors.asking import _seconds
from api.connectors.syncer import LEASE_LENGTH, pause
from schemas.instants import to_millis
from schemas.kept import Source
from storage.lake.erased import Erased
from storage.meta.leases import hold
from storage.meta.projects import delete_project, ensure_project
from storage.meta.sources import delete_source
from tests.api.connectors.providers import AMPLITUDE, MIXPANEL, SECRET, Fault, amplitude_line, mixpanel_line
from tests.api.connectors.pulling import DAY, NOW, Pull, pulling, until
from tests.fakes import FakeProducer

START = datetime(2026, 3, 8, tzinfo=UTC)
MILLIS = to_millis(START) + 1000
MANY = 3000


def _days(pull: Pull, count: int = MANY) -> None:
    lines = [mixpanel_line(number, MILLIS, noise=sha512(b"%d" % number).hexdigest()) for number in range(count)]
    pull.providers.days = {"2026-03-08": lines}


def _expected(pull: Pull, source: str, count: int = MANY) -> None:
    """All of the day is in the log, and the cursor past it."""
    assert len(set(pull.ids())) == count
    sync = pull.sync(source)
    assert (sync.cursor, sync.failures) == (START + DAY, 0)
    body = pull.one(source).body
    assert (body.status, body.status_message, body.last_sync) == ("active", None, pull.now)


def test_second_sync_adds_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            _days(pull, 10)
            source = pull.source("mixpanel", MIXPANEL, START)
            await pull.pull()
            _expected(pull, source, 10)
            before = pull.ids()
            pull.ask(source)
            await pull.pull()
            assert (pull.ids(), pull.providers.asked) == (before, ["2026-03-08"])
            pull.ask(source, START)  # all of it again, under the same ids
            await pull.pull()
            assert len(pull.ids()) == 20
            _expected(pull, source, 10)

    asyncio.run(scenario())


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9999])
def test_body_that_is_cut_is_read_again(tmp_path: Path, share: float) -> None:
    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            _days(pull)
            pull.providers.faults = [share]
            source = pull.source("mixpanel", MIXPANEL, START)
            await pull.pull()
            body, sync = pull.one(source).body, pull.sync(source)
            assert (body.status, body.last_sync, sync.failures) == ("error", None, 1)
            assert body.status_message == "Mixpanel could not be reached, or broke off its answer; it is asked again"
            assert (sync.cursor, sync.next) == (START, NOW + timedelta(minutes=1))
            assert (len(pull.ids()) > 0) == (share > 0)  # what came was kept
            await pull.pull()
            assert pull.providers.asked == ["2026-03-08"]  # not before its time
            pull.now = sync.next
            await pull.pull()
            _expected(pull, source)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("end", "is_line"),
    [(b"terminated early", True), (b"terminated early", False), (b'{"event": "a", "properti', False)],
)
def test_export_that_ended_early_with_a_good_status(tmp_path: Path, end: bytes, is_line: bool) -> None:
    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            whole = [mixpanel_line(1, MILLIS)]
            pull.providers.days = {"2026-03-08": [*whole, end]}
            source = pull.source("mixpanel", MIXPANEL, START)
            pull.providers.is_unterminated = not is_line
            await pull.pull()
            assert (pull.one(source).body.status, pull.sync(source).cursor) == ("error", START)
            pull.providers.days, pull.now = {"2026-03-08": whole}, pull.sync(source).next
            await pull.pull()
            _expected(pull, source, 1)

    asyncio.run(scenario())


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_archive_that_is_cut_or_broken(tmp_path: Path, share: float) -> None:
    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            lines = [amplitude_line(number, "2026-03-10 09:00:00", user_id=f"{number:064x}") for number in range(5000)]
            pull.providers.hours = {"20260310T09": [lines[:2500], lines[2500:]]}
            pull.providers.faults = [share]
            source = pull.source("amplitude", AMPLITUDE, NOW - timedelta(hours=3))
            await pull.pull()
            assert (pull.one(source).body.status, pull.sync(source).cursor) == ("error", NOW - timedelta(hours=3))
            pull.providers.is_spoilt = True  # whole, but its second file is not what its checksum says
            pull.now = pull.sync(source).next
            await pull.pull()
            message = pull.one(source).body.status_message
            assert message == "Amplitude sent an archive that cannot be read to its end; it is asked again"
            assert 0 < len(set(pull.ids())) < 5000
            pull.providers.is_spoilt, pull.now = False, pull.sync(source).next
            await pull.pull()
            assert (len(set(pull.ids())), pull.sync(source).cursor) == (5000, NOW - timedelta(hours=2))

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("fault", "status", "message", "wait"),
    [
        ((503, {}), "error", "Mixpanel has a fault of its own (503); it is asked again", timedelta(minutes=1)),
        ((503, {"Retry-After": "9"}), "error", "Mixpanel has a fault of its own (503)", timedelta(seconds=9)),
        ((404, {}), "error", "Mixpanel did not take the request (404); it is asked again", timedelta(minutes=1)),
        ((302, {"Location": "/token"}), "error", "Mixpanel did not take the request (302)", timedelta(minutes=1)),
        ((429, {"Retry-After": "7"}), "provisioning", "Mixpanel asks to wait (429)", timedelta(seconds=7)),
        ((429, {"Retry-After": "soon"}), "provisioning", "Mixpanel asks to wait (429)", timedelta(minutes=1)),
        ((429, {}), "provisioning", "Mixpanel asks to wait (429)", timedelta(minutes=1)),
    ],
)
def test_status_is_told_and_waited_for(
    tmp_path: Path, fault: Fault, status: str, message: str, wait: timedelta
) -> None:
    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            _days(pull, 10)
            pull.providers.faults = [fault]
            source = pull.source("mixpanel", MIXPANEL, START)
            await pull.pull()
            body, sync = pull.one(source).body, pull.sync(source)
            assert (body.status, sync.next, sync.cursor) == (status, NOW + wait, START)
            assert (body.status_message or "").startswith(message)
            pull.now = sync.next - timedelta(seconds=1)
            await pull.pull()
            assert pull.ids() == []
            pull.now = sync.next
            await pull.pull()
            _expected(pull, source, 10)

    asyncio.run(scenario())


def test_refused_credentials_are_told_without_them_and_tried_when_changed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            _days(pull, 10)
            wrong = MIXPANEL | {"secret": "wrong-hush"}
            source = pull.source("mixpanel", wrong, START)
            for _ in range(3):
                await pull.pull()
                pull.now = pull.sync(source).next
            body = pull.one(source).body
            assert body.status_message == "Mixpanel refuses the credentials (401): change them, or what they may read"
            assert (body.status, pull.sync(source).failures) == ("error", 3)
            assert pull.now == NOW + timedelta(minutes=1 + 2 + 4)
            pull.now -= timedelta(minutes=1)
            secret = json.dumps(MIXPANEL).encode()
            pull.things.change(Source, pull.project.id, source, lambda old: old, pull.by, pull.now, secret=secret)
            pull.ask(source)
            await pull.pull()
            _expected(pull, source, 10)

    asyncio.run(scenario())


def test_bad_items_are_counted_and_the_others_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            good = [mixpanel_line(number, MILLIS) for number in range(1200)]
            bad = [
                b"{",
                b"[]",
                b"\xff\xfe",
                b'{"event": "a"}',
                b'{"event": "a", "properties": {}}',
                b'{"event": "a", "properties": {"time": "yesterday"}}',
                b'{"event": "a", "properties": {"time": 1e400}}',
                b'{"event": "a", "properties": {"time": 99999999999999999999}}',
                b'{"event": "", "properties": {"time": 1773000000000}}',
                b'{"event": "a", "properties": {"time": 1773000000000, "distinct_id": {}}}',
                b'{"event": "a", "properties": {"time": 1773000000000, "deep": ' + b"[" * 100 + b"]" * 100 + b"}}",
                b'{"event": "a", "properties": ' + b"[" * 5000 + b"]" * 5000 + b"}",
                b'{"event": "$alias", "properties": {"time": 1773000000000, "alias": "root", "distinct_id": "u"}}',
                b'{"event": "a", "properties": {"time": 1773000000000, "long": "' + b"x" * 300_000 + b'"}}',
                b"y" * 2_000_000,
            ]
            lines = [*good[:3], *bad, *good[3:600], *bad, *good[600:]]
            pull.providers.days = {"2026-03-08": lines}
            source = pull.source("mixpanel", MIXPANEL, START)
            await pull.pull()
            _expected(pull, source, 1200)
            sync = pull.sync(source)
            assert (sync.accepted, sync.refused, len(pull.ids())) == (1200, 2 * len(bad), 1200)

    asyncio.run(scenario())


def test_full_log_is_waited_for_and_nothing_is_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOG_SECONDS", 0.01)

    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            _days(pull)
            pull.producer.refusal = "queue full"
            source = pull.source("mixpanel", MIXPANEL, START)
            work = asyncio.create_task(pull.pull())
            await until(lambda: pull.providers.asked)
            for _ in range(5):
                await asyncio.sleep(0.02)
                assert (pull.ids(), pull.sync(source).cursor, work.done()) == ([], START, False)
            pull.producer.refusal = None
            await work
            _expected(pull, source)
            assert len(pull.ids()) == MANY

    asyncio.run(scenario())


def test_cursor_waits_for_the_last_acknowledgement(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            _days(pull, 10)
            pull.producer.is_holding = True
            source = pull.source("mixpanel", MIXPANEL, START)
            work = asyncio.create_task(pull.pull())
            await until(lambda: pull.producer.held)
            await asyncio.sleep(0.05)
            assert pull.sync(source).cursor == START
            pull.producer.is_holding = False
            pull.producer.release()
            await work
            _expected(pull, source, 10)

    asyncio.run(scenario())


def test_process_that_dies_in_a_window_is_followed_by_another(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            _days(pull)
            source = pull.source("mixpanel", MIXPANEL, START)
            pull.providers.release = asyncio.Event()  # the last bytes are held back
            dying = pull.syncer()
            running = asyncio.create_task(dying.run())
            await until(lambda: len(pull.ids()) >= 1000)
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            assert 1000 <= len(pull.ids()) <= MANY
            assert (pull.sync(source).cursor, pull.one(source).body.status) == (START, "provisioning")
            pull.providers.release.set()
            await pull.pull()
            _expected(pull, source)
            assert len(pull.ids()) > MANY  # some of it twice, and under the same ids

    asyncio.run(scenario())


def test_one_process_pulls_a_source_and_a_dead_one_is_waited_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            _days(pull, 10)
            source = pull.source("mixpanel", MIXPANEL, START)
            assert hold(pull.things.metadata, f"sync:{source}", "killed", pull.now, LEASE_LENGTH)
            await pull.pull()
            assert pull.providers.asked == []
            pull.now += LEASE_LENGTH
            first, second = pull.syncer(), pull.syncer()
            pull.providers.release = asyncio.Event()
            for one in (first, second, first):
                await one.step()
            await until(lambda: pull.providers.asked)
            pull.providers.release.set()
            await first.idle()
            await second.idle()
            assert pull.providers.asked == ["2026-03-08"]
            _expected(pull, source, 10)

    asyncio.run(scenario())


def test_lease_is_kept_while_a_provider_is_slow_and_its_loss_ends_the_sync(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            _days(pull, 10)
            source = pull.source("mixpanel", MIXPANEL, START)
            pull.providers.release = asyncio.Event()
            slow = pull.syncer()
            await slow.step()
            await until(lambda: pull.providers.asked)
            for _ in range(10):
                pull.now += LEASE_LENGTH / 2
                await slow.step()
            name = f"sync:{source}"
            assert not hold(pull.things.metadata, name, "other", pull.now, LEASE_LENGTH)
            pull.now += LEASE_LENGTH  # it was asleep for too long
            assert hold(pull.things.metadata, name, "other", pull.now, LEASE_LENGTH)
            await slow.step()
            await slow.idle()
            assert (pull.ids(), pull.sync(source).cursor) == ([], START)
            assert not hold(pull.things.metadata, name, "third", pull.now, LEASE_LENGTH)  # nor was it taken away
            pull.providers.release.set()

    asyncio.run(scenario())


def test_wish_in_a_window_that_fails_is_not_put_off(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            _days(pull, 10)
            source = pull.source("mixpanel", MIXPANEL, START)
            pull.providers.faults, pull.providers.release = [0.5], asyncio.Event()
            work = asyncio.create_task(pull.pull())
            await until(lambda: pull.providers.asked)
            pull.now += timedelta(seconds=1)
            pull.ask(source)
            pull.providers.release.set()
            await work
            assert (pull.sync(source).next, pull.one(source).body.status) == (pull.now, "provisioning")
            await pull.pull()
            _expected(pull, source, 10)

    asyncio.run(scenario())


def test_sources_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_AT_ONCE", 1)
    monkeypatch.setattr(module, "_TURN", timedelta())

    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            pull.source("mixpanel", MIXPANEL, START - 9 * DAY)
            pull.now += timedelta(seconds=1)
            pull.source("mixpanel", MIXPANEL, START - 2 * DAY)
            for _ in range(6):
                pull.now += timedelta(seconds=1)
                await pull.pull()
            assert [day[5:] for day in pull.providers.asked] == ["02-27", "03-06", "02-28", "03-07", "03-01", "03-08"]

    asyncio.run(scenario())


def test_another_start_asked_for_in_a_window_wins(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            _days(pull, 10)
            pull.providers.days["2026-03-07"] = [mixpanel_line(99, MILLIS)]
            source = pull.source("mixpanel", MIXPANEL, START)
            pull.providers.release = asyncio.Event()
            work = asyncio.create_task(pull.pull())
            await until(lambda: pull.providers.asked)
            pull.ask(source, START - DAY)
            pull.providers.release.set()
            await work
            assert pull.sync(source).cursor == START - DAY
            await pull.pull()
            assert pull.providers.asked == ["2026-03-08", "2026-03-07", "2026-03-08"]
            _expected(pull, source, 11)

    asyncio.run(scenario())


@pytest.mark.parametrize("what", ["source", "project"])
def test_what_is_deleted_stops_in_the_middle(tmp_path: Path, what: str) -> None:
    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            _days(pull)
            source = pull.source("mixpanel", MIXPANEL, START)
            pull.producer.is_holding = True
            work = asyncio.create_task(pull.pull())
            await until(lambda: pull.producer.held)
            if what == "source":
                delete_source(pull.things, pull.project.id, source, pull.by, pull.now)
            else:
                ensure_project(pull.things.metadata, pull.account_id, "Other", None, pull.now)
                delete_project(pull.things.metadata, pull.project.id, pull.by, pull.now)
            pull.producer.is_holding = False
            pull.producer.release()
            await work
            assert len(pull.ids()) == 500  # the batch that was on its way
            await pull.pull()
            assert pull.providers.asked == ["2026-03-08"]

    asyncio.run(scenario())


def test_who_was_erased_does_not_come_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            later = MILLIS + 3_600_000
            pull.providers.days = {
                "2026-03-08": [
                    mixpanel_line(1, MILLIS, distinct_id="ann"),
                    mixpanel_line(2, MILLIS, distinct_id="$device:d"),
                    mixpanel_line(3, MILLIS, distinct_id="bob", **{"$device_id": "d", "$user_id": "bob"}),
                    mixpanel_line(4, MILLIS, distinct_id="eve"),
                    mixpanel_line(5, later + 1, distinct_id="ann"),
                    b"no event",
                ]
            }
            pull.erased = Erased().with_person(pull.project.id, "ann", later).with_person(pull.project.id, "d", later)
            pull.source("mixpanel", MIXPANEL, START)
            await pull.pull()
            assert sorted(event["userId"] for event in pull.events()) == ["ann", "eve"]
            assert [event["timestamp"] for event in pull.events() if event["userId"] == "ann"] == [
                "2026-03-08T01:00:01.001Z"
            ]

    asyncio.run(scenario())


def test_credentials_that_do_not_open_or_read_are_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            token = pull.source("mixpanel", {"projectToken": "t"}, START)
            moved = pull.source("mixpanel", MIXPANEL, START)
            strange = pull.source("mixpanel", MIXPANEL | {"secret": SECRET}, START)
            with pull.things.metadata.write() as connection:
                query = "UPDATE kept SET sealed = (SELECT sealed FROM kept WHERE id = ?) WHERE id = ?"
                connection.exec_driver_sql(query, (strange, moved))
            await pull.pull()
            assert (pull.one(token).body.status_message or "").startswith("A sync of mixpanel needs the credentials")
            assert pull.one(moved).body.status_message == "The credentials cannot be read any more: set them again"
            assert pull.one(strange).body.status == "active"  # others are not held up

    asyncio.run(scenario())


def test_unreachable_provider_and_own_faults_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            _days(pull, 10)
            source = pull.source("mixpanel", MIXPANEL, START)

            def broken() -> Erased:
                raise RuntimeError("a bug")

            monkeypatch.setattr(Pull, "erased", property(lambda _: broken()), raising=False)
            await pull.pull()
            assert pull.one(source).body.status_message == "The sync failed unexpectedly; it is tried again"
            pull.providers.port = 1
            pull.catalogue = type(pull.catalogue)(tmp_path, 0, pull.providers.addresses)
            pull.ask(source)
            await pull.pull()
            assert (pull.one(source).body.status_message or "").startswith("Mixpanel could not be reached")

    asyncio.run(scenario())


def test_a_source_that_cannot_be_read_is_logged_and_the_loop_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)

    async def scenario() -> None:
        async with pulling(tmp_path) as pull:
            _days(pull, 10)
            source = pull.source("mixpanel", MIXPANEL, START)
            with pull.things.metadata.write() as connection:
                query = "UPDATE kept SET body = '!' || body WHERE id = ?"
                connection.exec_driver_sql(query, (source,))
            running = asyncio.create_task(pull.syncer().run())
            await until(lambda: "syncs wait" in caplog.text)
            with pull.things.metadata.write() as connection:
                connection.exec_driver_sql("UPDATE kept SET body = substr(body, 2) WHERE id = ?", (source,))
            await until(lambda: pull.sync(source).cursor > START)
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            _expected(pull, source, 10)

    asyncio.run(scenario())


class _Forgetful(FakeProducer):
    """Does not keep what it takes."""

    def release(self) -> None:
        super().release()
        self.records.clear()


@pytest.mark.parametrize("provider", ["mixpanel", "amplitude"])
def test_large_export_needs_little_memory(tmp_path: Path, provider: str) -> None:
    count, filler = 4000, "x" * 20_000

    def export() -> Iterator[bytes]:
        for number in range(count):
            yield mixpanel_line(number, MILLIS, filler=filler)

    async def scenario() -> None:
        producer = _Forgetful()
        async with pulling(tmp_path, producer) as pull:
            if provider == "mixpanel":
                pull.providers.days = {"2026-03-08": export()}
                source, start = pull.source("mixpanel", MIXPANEL, START), START
            else:
                start = NOW - timedelta(hours=3)
                lines = (
                    amplitude_line(number, "2026-03-10 09:00:00", event_properties={"filler": filler})
                    for number in range(count)
                )
                pull.providers.hours = {"20260310T09": [lines]}
                source = pull.source("amplitude", AMPLITUDE, start)
            tracemalloc.start()
            try:
                await pull.pull()
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert (pull.sync(source).accepted, pull.sync(source).cursor > start) == (count, True)
            assert peak < 25_000_000  # of 80 MB

    asyncio.run(scenario())


def test_pauses_double_up_to_hours_and_a_wish_is_bounded() -> None:
    assert [pause(failures, None) for failures in (0, 1, 2)] == [timedelta(minutes=minutes) for minutes in (1, 2, 4)]
    assert pause(1000, None) == timedelta(hours=6)
    assert (pause(3, 0), pause(3, 30), pause(3, 10**9)) == (
        timedelta(seconds=1),
        timedelta(seconds=30),
        timedelta(days=1),
    )


def test_retry_after_is_seconds_or_an_instant() -> None:
    assert (_seconds("120"), _seconds(None), _seconds("later"), _seconds("٣")) == (120, None, None, None)
    assert _seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert 8e9 > (_seconds("Fri, 21 Oct 2250 07:28:00 GMT") or 0) > 1e9
