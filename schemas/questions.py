"""What can be asked of the lake, bounded and checked before any engine sees it."""

from schemas.windows import Interval

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100


class InvalidQuestion(ValueError):
    """A question that cannot be asked; the message names the parameter."""


def parse_limit(text: str | None) -> int:
    """A page size: clamped to what is allowed, refused when it is no number."""
    if text is None:
        return DEFAULT_LIMIT
    # The length first: int() of a very long text raises its own error.
    if not text.removeprefix("-").isdecimal() or len(text) > 20:
        raise InvalidQuestion("Invalid parameter: limit")
    return min(max(int(text), 1), MAX_LIMIT)


def parse_offset(text: str | None) -> int:
    """How many rows come before the page; raises InvalidQuestion."""
    if not text:
        return 0
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise InvalidQuestion("Invalid parameter: offset")
    return int(text)


def parse_number(text: str | None, name: str) -> int | None:
    """A whole number that is not negative, such as a version; raises InvalidQuestion."""
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise InvalidQuestion(f"Invalid parameter: {name}")
    return int(text)


def parse_flag(text: str | None, name: str) -> bool:
    """`true` or `false`, absent is false."""
    match (text or "false").lower():
        case "true" | "1":
            return True
        case "false" | "0":
            return False
    raise InvalidQuestion(f"Invalid parameter: {name}")


def parse_interval(text: str | None) -> Interval:
    """The width of a bucket, a day by default."""
    try:
        return Interval(text or "day")
    except ValueError as error:
        raise InvalidQuestion("Invalid parameter: interval") from error
