"""The coalescer: one record for many, not too late, not too large."""

import asyncio

from api.errors import Cause
from api.log.coalescer import Budget, Coalescer, LingerPolicy, Part
from schemas.records import COUNT_HEADER, DOOR_HEADER, FORMAT_HEADER, MAX_RECORD_BYTES
from tests.fakes import FakeProducer

LINGER = LingerPolicy()


async def opened(linger: LingerPolicy = LINGER) -> tuple[Coalescer, FakeProducer, Budget]:
    producer, budget = FakeProducer(), Budget(10_000, 100_000_000)
    await producer.start()
    return Coalescer(producer, budget, "door-1", linger), producer, budget


def append(
    coalescer: Coalescer, budget: Budget, segment: bytes = b"x", partition: int = 0
) -> "asyncio.Future[Cause | None]":
    assert budget.reserve(1, len(segment))
    return coalescer.append([Part(partition, segment, 1)])


def test_an_idle_log_gets_a_record_at_the_next_tick() -> None:
    async def scenario() -> None:
        coalescer, producer, budget = await opened()
        producer.is_holding = True
        append(coalescer, budget)
        append(coalescer, budget)
        assert producer.held == []
        await asyncio.sleep(0)
        [(record, _)] = producer.held
        assert record.value == b"xx"
        assert record.headers == {FORMAT_HEADER: b"1", COUNT_HEADER: b"2", DOOR_HEADER: b"door-1"}
        producer.release()

    asyncio.run(scenario())


def test_a_busy_log_gets_all_that_came_meanwhile_in_one_record() -> None:
    async def scenario() -> None:
        coalescer, producer, budget = await opened()
        producer.is_holding = True
        deliveries = [append(coalescer, budget, b"1")]
        await asyncio.sleep(0)
        for _ in range(5):
            deliveries.append(append(coalescer, budget, b"2"))
            await asyncio.sleep(0.001)
        assert len(producer.held) == 1
        producer.is_holding = False
        producer.release()
        assert await asyncio.gather(*deliveries) == [None] * 6
        assert [record.value for record in producer.records] == [b"1", b"22222"]

    asyncio.run(scenario())


def test_a_record_with_company_lets_the_next_wait_for_some() -> None:
    async def scenario() -> None:
        coalescer, _, budget = await opened(LingerPolicy(company=2, seconds=0.05))
        await asyncio.gather(append(coalescer, budget), append(coalescer, budget))
        started = asyncio.get_running_loop().time()
        await append(coalescer, budget)
        assert asyncio.get_running_loop().time() - started > 0.03
        started = asyncio.get_running_loop().time()
        await append(coalescer, budget)  # the one before was alone
        assert asyncio.get_running_loop().time() - started < 0.03

    asyncio.run(scenario())


def test_a_request_waits_for_all_its_parts() -> None:
    async def scenario() -> None:
        coalescer, producer, budget = await opened()
        producer.is_holding = True
        assert budget.reserve(2, 2)
        delivery = coalescer.append([Part(0, b"x", 1), Part(1, b"y", 1)])
        await asyncio.sleep(0)
        (_, first), (_, second) = producer.held
        first("not delivered")
        await asyncio.sleep(0)
        assert not delivery.done()
        second(None)
        assert await delivery == "not delivered"

    asyncio.run(scenario())


def test_partitions_have_records_of_their_own() -> None:
    async def scenario() -> None:
        coalescer, producer, budget = await opened()
        await asyncio.gather(*(append(coalescer, budget, b"%d" % place, place % 3) for place in range(6)))
        assert sorted((record.partition, record.value) for record in producer.records) == [
            (0, b"03"),
            (1, b"14"),
            (2, b"25"),
        ]

    asyncio.run(scenario())


def test_a_record_is_cut_before_it_is_too_large() -> None:
    async def scenario() -> None:
        coalescer, producer, budget = await opened()
        segment = b"x" * 100_000
        await asyncio.gather(*(append(coalescer, budget, segment) for _ in range(5)))
        assert [len(record.value) for record in producer.records] == [200_000, 200_000, 100_000]
        await append(coalescer, budget, b"x" * MAX_RECORD_BYTES)
        assert len(producer.records[-1].value) == MAX_RECORD_BYTES

    asyncio.run(scenario())


def test_a_refused_record_is_told_to_all_its_requests() -> None:
    async def scenario() -> None:
        coalescer, producer, budget = await opened()
        producer.refusal = "breaker open"
        deliveries = [append(coalescer, budget) for _ in range(3)]
        assert [await delivery for delivery in deliveries] == ["breaker open"] * 3
        assert budget.left == (10_000, 100_000_000)

    asyncio.run(scenario())


def test_a_full_queue_is_told() -> None:
    async def scenario() -> None:
        producer, budget = FakeProducer(most_held=1), Budget(10, 10)
        await producer.start()
        producer.is_holding = True
        coalescer = Coalescer(producer, budget, "door-1", LINGER)
        first = append(coalescer, budget)
        await asyncio.sleep(0)
        assert await append(coalescer, budget, partition=1) == "queue full"
        producer.release()
        assert await first is None
        assert budget.left == (10, 10)

    asyncio.run(scenario())


def test_closing_cuts_what_is_gathered() -> None:
    async def scenario() -> None:
        coalescer, producer, budget = await opened(LingerPolicy(company=1, seconds=60))
        await append(coalescer, budget)
        delivery = append(coalescer, budget)
        coalescer.close()
        assert await asyncio.wait_for(delivery, 5) is None
        assert len(producer.records) == 2

    asyncio.run(scenario())


class TestBudget:
    def test_all_or_nothing(self) -> None:
        budget = Budget(10, 100)
        assert budget.reserve(10, 100)
        assert not budget.reserve(1, 0)
        assert not budget.reserve(0, 1)
        budget.release(1, 1)
        assert not budget.reserve(2, 1)
        assert budget.reserve(1, 1)
        assert budget.left == (0, 0)
