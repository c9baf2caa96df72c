"""Rate limits as they are written."""

import pytest

from schemas.limits import Limit, parse_limits


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("600/60", (Limit(600, 60),)),
        (" 100/60 , 1000/3600 ", (Limit(100, 60), Limit(1000, 3600))),
        ("131072/86400", (Limit(131_072, 86_400),)),
        ("0", ()),
    ],
)
def test_limits_are_read(text: str, limits: tuple[Limit, ...]) -> None:
    assert parse_limits(text) == limits


@pytest.mark.parametrize(
    "text",
    ["", "many", "600", "600/", "/60", "0/60", "1/0", "-1/60", "1.5/60", "131073/60", "1/86401", "1/60,", "²/60"],
)
def test_what_is_no_limit_is_told_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write requests/seconds like 600/60"):
        parse_limits(text)
