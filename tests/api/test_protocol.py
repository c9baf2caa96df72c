"""What is wrong below the application: answered in the native form, and bounded."""

import resource
import socket
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest

from tests.api.serving import Served, serve_fake, wait_until

EVENTS = "/api/v1/events"
HEAD = b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: sg_admin\r\n"
# Twice what a head may be, and more than one read.
MUCH = b"x" * (512 * 1024)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve_fake(tmp_path_factory.mktemp("data")) as served:
        yield served


def connect(api: Served) -> socket.socket:
    address = urlsplit(api.url)
    return socket.create_connection((address.hostname, address.port), timeout=10)


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def exchange(api: Served, request: bytes) -> httpx.Response:
    """The one answer to some bytes, after which the server closes the connection."""
    with connect(api) as connection:
        connection.sendall(request)
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    return httpx.Response(int(status.split()[1]), headers=headers, content=body)


@pytest.mark.parametrize(
    "request_",
    [
        b"FOO /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"nonsense\r\n\r\n",
        HEAD + b"Content-Length: five\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
def test_what_is_no_http_is_told_in_the_native_form(api: Served, request_: bytes) -> None:
    response = exchange(api, request_)
    assert response.status_code == 400
    assert response.json() == {"error": "bad_request", "message": "Malformed HTTP request"}
    assert response.headers["content-type"] == "application/json"
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + MUCH[:70_000] + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD + b"X-Long: " + MUCH[:70_000] + b"\r\n\r\n",
        HEAD + b"".join(b"X-%d: y\r\n" % number for number in range(10_000)) + b"\r\n",
        HEAD + b"X-Endless: " + MUCH[:70_000],
    ],
)
def test_a_head_too_large_is_refused(api: Served, request_: bytes) -> None:
    response = exchange(api, request_)
    assert response.status_code == 431
    assert response.json()["error"] == "headers_too_large"
    assert response.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"GET /",
        HEAD + b"X-Endless: ",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Endless: ",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;",
    ],
)
def test_what_has_no_end_takes_no_memory(api: Served, start: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(8):
        with connect(api) as connection:
            connection.sendall(start)
            sent = 0
            with suppress(ConnectionError):  # closed while it still sends
                while sent < 64 * 1024 * 1024:
                    sent += connection.send(MUCH)
            assert sent < 32 * 1024 * 1024
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


def test_a_large_body_in_many_small_chunks_is_no_large_head(api: Served) -> None:
    body = b'{"event":"a","properties":{"x":"' + b"y" * 60_000 + b'"}}'
    chunks = (body[at : at + 5] for at in range(0, len(body), 5))
    assert api.client.post(EVENTS, content=chunks).status_code == 200


def test_a_head_of_30_kilobytes_is_taken(api: Served) -> None:
    assert api.client.post(EVENTS, json={"event": "a"}, headers={"X-Long": "x" * 30_000}).status_code == 200


def test_a_bad_request_is_not_told_as_the_answer_to_the_one_before(api: Served) -> None:
    api.producer.is_holding = True
    try:
        with connect(api) as connection:
            connection.sendall(HEAD + b'Content-Length: 13\r\n\r\n{"event":"a"}')
            wait_until(lambda: api.producer.held)
            connection.sendall(b"FOO / HTTP/1.1\r\n\r\n")
            assert read_all(connection) == b""  # nothing is known: the sender sends again
    finally:
        api.producer.is_holding = False
        api.call(api.producer.release)


@pytest.mark.parametrize(
    "path", [EVENTS, "/api/v1/metrics", "/health/live", "/health/ready", "/metrics", "/openapi.json", "/api/v1/nowhere"]
)
def test_head_is_get_without_a_body(api: Served, path: str) -> None:
    get, head = httpx.get(api.url + path), httpx.head(api.url + path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert get.status_code != 405
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers.get("access-control-allow-origin") == get.headers.get("access-control-allow-origin")


def test_a_connection_goes_on_after_a_head(api: Served) -> None:
    with connect(api) as connection:
        connection.sendall(
            b"HEAD /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        first, second = read_all(connection).split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert first.endswith(b"\r\n\r\n")
    assert second.endswith(b'{"status":"live"}')
