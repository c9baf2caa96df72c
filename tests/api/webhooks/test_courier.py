"""What is taken where, and what never."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.webhooks.courier import Courier, Outcome
from tests.api.webhooks.receiver import Receiver, receiving

BODY = b'{"a":1}'


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with receiving(tmp_path / "receiver") as found:
        yield found


def post(url: str, receiver: Receiver, **options: object) -> Outcome:
    context = ssl.create_default_context(cafile=receiver.authority)
    courier = Courier(allows_private=True, context=context, **options)  # type: ignore[arg-type]
    return asyncio.run(courier.post(url, BODY, {"X-Test": "1"}))


@pytest.mark.parametrize(("status", "is_delivered"), [(200, True), (204, True), (404, False), (500, False)])
def test_status_of_the_answer(receiver: Receiver, status: int, is_delivered: bool) -> None:
    receiver.status = status
    outcome = post(receiver.url, receiver)
    assert (outcome.status, outcome.error, outcome.is_delivered) == (status, None, is_delivered)
    [(path, headers, body)] = receiver.requests
    assert (path, body, headers["X-Test"]) == ("/hook?a=b%20c", BODY, "1")
    assert headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert headers["Content-Type"] == "application/json"


def test_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.status, receiver.location = 302, receiver.url
    assert post(receiver.url, receiver) == Outcome(302)
    assert len(receiver.requests) == 1


def test_slow_one_is_left(receiver: Receiver) -> None:
    receiver.release = threading.Event()
    assert post(receiver.url, receiver, seconds=0.3) == Outcome(error="no answer within 0.3 s")


def test_certificate_is_looked_at(receiver: Receiver) -> None:
    courier = Courier(allows_private=True)
    assert asyncio.run(courier.post(receiver.url, BODY, {})) == Outcome(error="its certificate is not valid")
    assert receiver.requests == []


def test_name_must_be_that_of_the_certificate(receiver: Receiver) -> None:
    async def loopback(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    outcome = post(f"https://hooks.example.org:{receiver.port}/", receiver, resolve=loopback)
    assert outcome == Outcome(error="its certificate is not valid")


def test_nobody_listens(receiver: Receiver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    outcome = post(f"https://127.0.0.1:{port}/", receiver)
    assert outcome == Outcome(error="it could not be reached, or answered something else than HTTP")


@pytest.mark.parametrize("said", [b"", b"hello\r\n", b"HTTP/1.1 abc\r\n", b"x" * 20_000])
def test_what_is_no_https(receiver: Receiver, said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answer() -> None:
            connection, _ = plain.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        outcome = post(f"https://127.0.0.1:{plain.getsockname()[1]}/", receiver)
        thread.join()
    assert outcome.status is None
    assert outcome.error is not None


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"], ["64:ff9b::7f00:1"], []],
)
def test_names_that_lead_inside_are_refused_before_anything_is_sent(receiver: Receiver, addresses: list[str]) -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        return addresses

    courier = Courier(context=ssl.create_default_context(cafile=receiver.authority), resolve=resolve)
    outcome = asyncio.run(courier.post("https://hooks.example.org/", BODY, {}))
    assert outcome == Outcome(error="its name leads into a private network")


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://127.1/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://2130706433/",
        "https://localhost/",
        "http://hooks.example.org/",
        "https://hooks.example.org:8443/",
    ],
)
def test_addresses_that_are_ours_are_not_even_looked_up(url: str) -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        raise AssertionError("looked up")

    outcome = asyncio.run(Courier(resolve=resolve).post(url, BODY, {}))
    assert outcome == Outcome(error="the address is not a public https address")


def test_name_without_an_address() -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        raise socket.gaierror("no such name")

    outcome = asyncio.run(Courier(resolve=resolve).post("https://hooks.example.org/", BODY, {}))
    assert outcome == Outcome(error="its name has no address")
