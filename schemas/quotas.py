"""How much an account may have by its plan: things, and events a month. Nothing is limited unless it is set."""

from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec

# By plan, the most of each; what is not named is not limited.
Quotas: TypeAlias = Mapping[str, Mapping[str, int]]

NO_QUOTAS: Final[Quotas] = {}
EVENTS: Final = "events"
# As the refusal names one and many of them.
THINGS: Final = {
    "sites": ("Site", "sites"),
    "keys": ("API key", "keys"),
    "goals": ("Goal", "goals"),
    "funnels": ("Funnel", "funnels"),
    "alerts": ("Alert", "alerts"),
    "annotations": ("Annotation", "annotations"),
    "team": ("Team member", "team members"),
}
_PLANS: Final[Quotas] = {
    plan: dict(zip(THINGS, numbers, strict=True))
    for plan, numbers in {
        "free": (3, 2, 5, 2, 2, 10, 1),
        "pro": (10, 10, 50, 20, 20, 100, 5),
        "business": (50, 50, 200, 100, 100, 500, 20),
        "enterprise": (),
    }.items()
    if numbers
}
_WORDS: Final = {"": NO_QUOTAS, "off": NO_QUOTAS, "on": _PLANS}


def parse_quotas(text: str) -> Quotas:
    """`off`, `on` for the usual numbers, or JSON of numbers by plan; raises ValueError."""
    if text in _WORDS:
        return _WORDS[text]
    try:
        found: Quotas = msgspec.json.decode(text, type=dict[str, dict[str, int]])
    except msgspec.MsgspecError as error:
        example = '{"free": {"sites": 3, "events": 100000}}'
        raise ValueError(f"write on, off, or JSON such as {example}: {error}") from error
    for plan, numbers in found.items():
        for thing, most in numbers.items():
            if thing not in (*THINGS, EVENTS) or most < 0:
                known = ", ".join((*THINGS, EVENTS))
                raise ValueError(f"{plan}.{thing}: a number from 0 on of one of {known}")
    return found


def refusal(thing: str) -> str:
    """What somebody is told who has as many as the plan allows."""
    one, many = THINGS[thing]
    return f"{one} limit reached. Upgrade to create more {many}."
