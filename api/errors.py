"""Errors of the API; this is the only place that knows HTTP status codes.

ApiError
└── Problem             a request that is answered with an error; what the caller reads
    └── LogUnavailable  the log cannot take it now: 503, and the same request may succeed later
"""

import random
from typing import Literal

import msgspec

CODES: dict[int, str] = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    410: "gone",
    413: "payload_too_large",
    415: "unsupported_media_type",
    422: "bad_request",
    429: "rate_limited",
    431: "headers_too_large",
    500: "internal_error",
    503: "unavailable",
}

# Why the log takes nothing; the label of a metric, so the set is closed.
Cause = Literal["starting", "stopping", "breaker open", "budget spent", "queue full", "not delivered", "disk full"]


class ApiError(Exception):
    """Root of the tree."""


class Problem(ApiError):
    """An error answer: status, the caller's message, and further headers."""

    def __init__(self, status: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = CODES.get(status, "bad_request" if status < 500 else "internal_error")
        self.message = message
        self.headers = headers

    @property
    def body(self) -> bytes:
        """The JCHT form."""
        return problem_body(self.code, self.message)


class OverQuota(Problem):
    """The account has as many as its plan allows; every surface says so in the same words."""

    def __init__(self, message: str) -> None:
        super().__init__(403, message)


class LogUnavailable(Problem):
    """Nothing of the request is known to be kept; sent again with the same ids it is stored once."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(503, "The event log cannot take events now; send them again", (retry_after(),))
        self.cause: Cause = cause


def problem_body(code: str, message: str) -> bytes:
    """The body of an error in JCHT's form."""
    return msgspec.json.encode({"error": code, "message": message})


def retry_after() -> tuple[bytes, bytes]:
    """1 to 5 seconds, jittered, so that refused clients do not come back all at once."""
    return (b"retry-after", b"%d" % random.randint(1, 5))


def malformed(message: str = "Malformed JSON") -> Problem:
    return Problem(400, message)


def bad_request(message: str) -> Problem:
    return Problem(400, message)


def unauthorized() -> Problem:
    return Problem(401, "Invalid or missing API key")


def forbidden(message: str = "The API key may not do this") -> Problem:
    return Problem(403, message)


def not_found() -> Problem:
    return Problem(404, "Not found")


def gone(message: str) -> Problem:
    return Problem(410, message)


def not_allowed(allow: bytes) -> Problem:
    return Problem(405, "Method not allowed", ((b"allow", allow),))


def too_slow() -> Problem:
    return Problem(408, "The request body took too long to arrive", ((b"connection", b"close"),))


def too_large(message: str) -> Problem:
    return Problem(413, message)


def head_too_large() -> Problem:
    return Problem(431, "Request line and headers too large: at most 64 KB")


def unavailable(message: str) -> Problem:
    return Problem(503, message, (retry_after(),))


def conflict(message: str) -> Problem:
    return Problem(409, message)


def limited(seconds: int, headers: tuple[tuple[bytes, bytes], ...]) -> Problem:
    return Problem(429, f"Too many requests; send the next one in {seconds} s", headers)


def unsupported(coding: str) -> Problem:
    return Problem(415, f"Unsupported Content-Encoding: {coding}; use one of gzip, deflate, zstd")
