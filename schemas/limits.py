"""Rate limits as settings and keys write them: lists of `requests/seconds`."""

from dataclasses import dataclass
from typing import Final

# Larger windows would keep more instants for a key than they are worth; 0 says "no limit".
MOST_REQUESTS: Final = 131_072
LONGEST_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many requests in any window of so many seconds."""

    requests: int
    seconds: int


def parse_limits(text: str) -> tuple[Limit, ...]:
    """`100/60,1000/3600`, or `0` for none; raises ValueError."""
    if text.strip() == "0":
        return ()
    return tuple(_parse(part.strip()) for part in text.split(","))


def _parse(text: str) -> Limit:
    requests, slash, seconds = text.partition("/")
    if slash and all(part.isascii() and part.isdecimal() and len(part) < 8 for part in (requests, seconds)):
        limit = Limit(int(requests), int(seconds))
        if 1 <= limit.requests <= MOST_REQUESTS and 1 <= limit.seconds <= LONGEST_SECONDS:
            return limit
    raise ValueError(
        f"{text!r} is no rate limit; write requests/seconds like 600/60 (at most {MOST_REQUESTS}/{LONGEST_SECONDS}),"
        " several with commas, or 0 for none"
    )
