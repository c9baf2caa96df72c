"""HTTP/1.1 on a connection: as uvicorn reads it, with heads of bounded size, and errors in JCHT's form."""

from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.errors import Problem, head_too_large, malformed
from api.middleware import ABORT, CORS_HEADERS

# Request line and headers, trailers, or the framing between two pieces of a body.
MOST_HEAD_BYTES: Final = 64 * 1024


class Protocol(HttpToolsProtocol):
    """One connection."""

    # Bytes since the last head or piece of a body was complete: the parser keeps what it cannot hand over yet.
    _unparsed = 0
    _problem: Problem | None = None

    def data_received(self, data: bytes) -> None:
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > MOST_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(head_too_large())

    def on_headers_complete(self) -> None:
        self._unparsed = 0
        # One that came in one piece.
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MOST_HEAD_BYTES:
            self._problem = head_too_large()
            raise self._problem  # ends the parsing, and comes back as an error of the parser
        super().on_headers_complete()
        self.scope[ABORT] = self.transport.abort  # type: ignore[literal-required]  # a key of our own

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._problem or malformed("Malformed HTTP request"))

    def _refuse(self, problem: Problem) -> None:
        # While the request before is still to be answered, this would be read as the answer to it.
        if self.cycle is None or self.cycle.response_complete or self._is_broken_off():
            self.transport.write(_answer(problem))
        self.transport.close()

    def _is_broken_off(self) -> bool:
        """Whether it is the request under way whose body went wrong, with no answer begun."""
        return self.cycle.more_body and not self.cycle.response_started


def _answer(problem: Problem) -> bytes:
    headers = (
        (b"content-type", b"application/json"),
        *CORS_HEADERS,
        (b"content-length", b"%d" % len(problem.body)),
        (b"connection", b"close"),
    )
    lines = [b"%b: %b\r\n" % header for header in headers]
    return b"".join((STATUS_LINE[problem.status], *lines, b"\r\n", problem.body))
