"""The door: segments and ids of a request, and a yes only after the log's."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import LogUnavailable
from api.ingest.door import BaseSource, Door, Origin, cut, mint
from api.ingest.tally import Tally
from api.log.coalescer import Budget, Part
from schemas.events import Event, decode_event
from schemas.records import MAX_RECORD_BYTES, Segment, decode_segments, minted_id
from schemas.topics import partition_of
from tests.fakes import FakeProducer, Record

ORIGIN = Origin(7, 1_790_000_000_000, "api")
bases = st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", min_size=12, max_size=12)


class Line(NamedTuple):
    """One checked event and its bytes for the log."""

    event: Event
    raw: bytes


def line(size: int = 20, user: str | None = None, anonymous: str | None = None, own: str | None = None) -> Line:
    return Line(Event("a", user_id=user, anonymous_id=anonymous, event_id=own), b"x" * size)


def cut_lines(
    origin: Origin, sent: Sequence[Line], partitions: int, given: Sequence[str] | None = None
) -> tuple[list[Part], list[str]]:
    return cut(origin, [one.event for one in sent], [one.raw for one in sent], given, partitions, BaseSource())


async def accept(door: Door, sent: Sequence[Line]) -> list[str]:
    return await door.accept(ORIGIN, [one.event for one in sent], [one.raw for one in sent])


def derived(segments: Sequence[Segment]) -> list[str]:
    """The ids that a worker derives, for lines that name none."""
    ids = []
    for segment in segments:
        for place in range(segment.header.n):
            given = segment.header.ids[place] if segment.header.ids else None
            ids.append(given or minted_id(segment.header.base, place))
    return ids


@given(bases, st.integers(0, 250_000))
def test_ids_are_minted_as_workers_do(base: str, place: int) -> None:
    assert mint(base, place) == minted_id(base, place)


def test_bases_are_fresh() -> None:
    source = BaseSource()
    found = {source() for _ in range(2000)}
    assert len(found) == 2000
    assert all(len(base) == 12 and base.isalnum() and base.isascii() for base in found)


lines = st.builds(
    line,
    st.sampled_from([10, 300, 60_000, 200_000]),
    st.sampled_from([None, "", "u1", "u2", "u3"]),
    st.sampled_from([None, None, "a1"]),
    st.uuids().map(str) | st.sampled_from([None, None, ""]),
)


@given(st.lists(lines, min_size=1, max_size=25), st.sampled_from([None, "v_1"]), st.integers(1, 5), st.booleans())
def test_a_request_becomes_segments(sent: list[Line], visitor: str | None, partitions: int, has_key: bool) -> None:
    origin = Origin(7, 5, "api", visitor)
    parts, ids = cut_lines(
        origin, sent, partitions, [f"key:{place}" for place in range(len(sent))] if has_key else None
    )
    kept = []
    for part in parts:
        assert len(part.segment) <= MAX_RECORD_BYTES
        [segment] = list(decode_segments(part.segment, part.events))
        assert isinstance(segment, Segment)
        assert (segment.header.project, segment.header.visitor) == (7, visitor)
        kept += [(part.partition, id_, raw) for id_, raw in zip(derived([segment]), segment.lines, strict=True)]
    want = []
    for one, id_ in zip(sent, ids, strict=True):
        distinct = one.event.user_id or one.event.anonymous_id or visitor or ""
        # A worker takes the id that an event names; what the record says counts for the others.
        want.append((partition_of(7, distinct, id_, partitions), one.event.event_id or id_, one.raw))
    if not any(one.event.event_id for one in sent):
        assert sorted(kept) == sorted(want)
    assert sorted((partition, raw) for partition, _, raw in kept) == sorted(
        (partition, raw) for partition, _, raw in want
    )
    assert len(set(ids)) == len(ids)
    for place, (one, id_) in enumerate(zip(sent, ids, strict=True)):
        assert id_ == (one.event.event_id or (f"key:{place}" if has_key else id_))


def test_a_clients_own_id_wins() -> None:
    sent = [line(own="mine"), line(user="u"), line(own="")]
    parts, ids = cut_lines(ORIGIN, sent, 4, ["key:0", "key:1", "key:2"])
    assert ids == ["mine", "key:1", "key:2"]
    headers = [next(iter(decode_segments(part.segment, None))) for part in parts]
    given = [id_ for segment in headers if isinstance(segment, Segment) for id_ in segment.header.ids or [None]]
    assert sorted(given, key=str) == sorted([None, "key:1", "key:2"], key=str)


def test_order_within_a_partition_is_kept() -> None:
    sent = [Line(Event("a", user_id="u"), b"%d" % place) for place in range(500)]
    parts, _ = cut_lines(ORIGIN, sent, 4)
    [part] = parts
    [segment] = list(decode_segments(part.segment, 500))
    assert isinstance(segment, Segment)
    assert list(segment.lines) == [one.raw for one in sent]


def test_long_ids_count_towards_the_size_of_a_record() -> None:
    sent = [Line(Event("a", user_id="u"), b"{}")] * 1000
    parts, _ = cut_lines(ORIGIN, sent, 1, [f"{'ü' * 500}:{place}" for place in range(1000)])
    assert len(parts) > 1
    assert all(len(part.segment) <= MAX_RECORD_BYTES for part in parts)


class TestAccept:
    """Against the fake log."""

    def open(self, events: int = 100, size: int = 1_000_000) -> tuple[Door, FakeProducer, Budget]:
        producer, budget = FakeProducer(), Budget(events, size)
        return Door(producer, budget, "door-1", Tally()), producer, budget

    def test_the_answer_waits_for_the_report(self) -> None:
        async def scenario() -> list[str]:
            door, producer, _ = self.open()
            await producer.start()
            producer.is_holding = True
            door.open()
            answer = asyncio.create_task(accept(door, [line(user="u")]))
            await asyncio.sleep(0.05)
            assert not answer.done()
            producer.release()
            return await answer

        [id_] = asyncio.run(scenario())
        assert id_.startswith("evt_")

    def test_requests_share_a_record(self) -> None:
        async def scenario() -> list[Record]:
            door, producer, _ = self.open()
            await producer.start()
            door.open()
            await asyncio.gather(*(accept(door, [line(user="u")]) for _ in range(10)))
            return producer.records

        [record] = asyncio.run(scenario())
        assert [segment.first for segment in record.segments()] == list(range(10))

    @pytest.mark.parametrize("failing", [1, 2])
    def test_one_failed_part_fails_the_request(self, failing: int) -> None:
        async def scenario() -> None:
            door, producer, budget = self.open()
            await producer.start()
            producer.is_holding = True
            door.open()
            sent = [line(user=f"u{place}") for place in range(20)]
            answer = asyncio.create_task(accept(door, sent))
            await asyncio.sleep(0.05)
            held = producer.held
            assert len(held) > failing
            for place, (_, report) in enumerate(held):
                report("not delivered" if place == failing else None)
            with pytest.raises(LogUnavailable) as caught:
                await answer
            assert caught.value.cause == "not delivered"
            assert budget.left == (100, 1_000_000)

        asyncio.run(scenario())

    def test_a_spent_budget_refuses_at_once(self) -> None:
        async def scenario() -> None:
            door, producer, budget = self.open(events=3)
            await producer.start()
            producer.is_holding = True
            door.open()
            first = asyncio.create_task(accept(door, [line(user="u")] * 2))
            await asyncio.sleep(0.05)
            with pytest.raises(LogUnavailable) as caught:
                await accept(door, [line(user="u")] * 2)
            assert caught.value.cause == "budget spent"
            producer.release()
            await first
            assert budget.left == (3, 1_000_000)
            producer.is_holding = False
            assert len(await accept(door, [line(user="u")] * 2)) == 2

        asyncio.run(scenario())

    def test_a_large_request_needs_its_bytes(self) -> None:
        async def scenario() -> None:
            door, producer, _ = self.open(size=1000)
            await producer.start()
            door.open()
            with pytest.raises(LogUnavailable):
                await accept(door, [line(size=1000, user="u")])
            assert producer.records == []

        asyncio.run(scenario())

    def test_a_cancelled_answer_does_not_cancel_events(self) -> None:
        async def scenario() -> None:
            door, producer, budget = self.open()
            await producer.start()
            producer.is_holding = True
            door.open()
            both = [asyncio.create_task(accept(door, [line(user="u")])) for _ in range(2)]
            await asyncio.sleep(0.05)
            both[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await both[0]
            producer.release()
            assert len(await both[1]) == 1
            assert sum(segment.header.n for record in producer.records for segment in record.segments()) == 2
            assert budget.left == (100, 1_000_000)

        asyncio.run(scenario())

    def test_closing_sends_off_what_is_gathered(self) -> None:
        async def scenario() -> None:
            door, producer, _ = self.open()
            await producer.start()
            door.open()
            answer = asyncio.create_task(accept(door, [line(user="u")]))
            await asyncio.sleep(0)
            door.close()
            assert len(await answer) == 1
            with pytest.raises(LogUnavailable) as caught:
                await accept(door, [line(user="u")])
            assert caught.value.cause == "stopping"

        asyncio.run(scenario())

    def test_a_full_disk_refuses(self) -> None:
        async def scenario() -> None:
            door, producer, _ = self.open()
            await producer.start()
            door.open()
            door.set_disk_full(True)
            with pytest.raises(LogUnavailable) as caught:
                await accept(door, [line(user="u")])
            assert caught.value.cause == "disk full"
            door.set_disk_full(False)
            assert len(await accept(door, [line(user="u")])) == 1

        asyncio.run(scenario())


def test_decoded_events_have_the_partition_of_their_person() -> None:
    sent = [Line(decode_event(raw), raw) for raw in (b'{"event":"a","userId":"u"}', b'{"event":"a","anonymousId":"u"}')]
    parts, _ = cut_lines(ORIGIN, sent, 64)
    assert [part.events for part in parts] == [2]
