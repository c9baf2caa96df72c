"""An array falls into its items by its brackets alone, for when an item in it is beyond any decoder."""

import re

_TEXT = rb'"(?:[^"\\]++|\\.)*+"'
# What stands between two places that matter: among the items commas do, within an item only brackets.
_AMONG = re.compile(rb'(?:[^"\[\]{},]++|' + _TEXT + rb")*+", re.DOTALL)
_WITHIN = re.compile(rb'(?:[^"\[\]{}]++|' + _TEXT + rb")*+", re.DOTALL)
_OPENING = re.compile(rb"[\[{]++")
_CLOSING = re.compile(rb"[\]}]++")
# A thousand events take a few thousand steps; brackets in bulk would hold up everybody for seconds.
_MOST_STEPS = 100_000
_SPACE = b" \t\r\n"


def split_array(body: bytes, start: int) -> tuple[list[bytes], int] | None:
    """The items of the array that opens at `start`, decodable or not, and where it ends.

    None where it does not end, has nothing between two commas, or is too entangled.
    """
    items: list[bytes] = []
    first = at = start + 1
    depth = 1
    for _ in range(_MOST_STEPS):
        at = _end(_AMONG if depth == 1 else _WITHIN, body, at)
        match body[at : at + 1]:
            case b"[" | b"{":
                after = _end(_OPENING, body, at)
                depth += after - at
            case b"]" | b"}":
                after = _end(_CLOSING, body, at, at + depth)
                depth -= after - at
            case b",":
                after = at + 1
                items.append(body[first:at].strip(_SPACE))
                first = after
            case _:  # the end, or a text without one
                return None
        at = after
        if depth == 0:
            items.append(body[first : at - 1].strip(_SPACE))
            return (items, at) if all(items) and body[at - 1 : at] == b"]" else None
    return None


def _end(pattern: re.Pattern[bytes], body: bytes, at: int, most: int | None = None) -> int:
    found = pattern.match(body, at, len(body) if most is None else most)
    return found.end() if found else at
