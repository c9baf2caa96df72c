"""Instants read many at once say what each says alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.instants import plain_instants
from schemas.instants import parse_instant

_PLAIN = st.datetimes().map(lambda at: f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z".rjust(24, "0"))
_SIGNS = st.text("0123456789-:TZ. +é", min_size=23, max_size=25)


def _read(texts: list[str]) -> list[int] | None:
    found = plain_instants(texts)
    return None if found is None else found.tolist()


def _each(texts: list[str]) -> list[int] | None:
    """None where one of them lies outside of the times that events may have."""
    try:
        return [parse_instant(text) for text in texts]
    except ValueError:
        return None


@given(st.lists(_PLAIN, max_size=5))
def test_plain_instants_are_what_each_is(texts: list[str]) -> None:
    assert _read(texts) == _each(texts)


@given(_PLAIN, st.integers(0, 23), st.sampled_from("0123456789:TZ/ \x00é"))
def test_one_sign_changed_is_another_instant_or_not_read(text: str, at: int, sign: str) -> None:
    changed = text[:at] + sign + text[at + 1 :]
    found = _read([text, changed])
    assert found is None or found == [parse_instant(text), parse_instant(changed)]


@given(_SIGNS)
def test_what_is_read_is_an_instant(text: str) -> None:
    found = _read([text])
    assert found is None or found == [parse_instant(text)]


@pytest.mark.parametrize(
    "texts",
    [
        ["2026-11-24T17:22:07Z"],
        ["2026-11-24T17:22:60.000Z"],
        ["2026-02-29T00:00:00.000Z"],
        ["0000-01-01T00:00:00.000Z"],
        ["0001-02-28T23:59:59.999Z"],
        ["9999-11-01T00:00:00.000Z"],
        ["2026-11-24T17:22:07.123", "Z2026-11-24T17:22:07.123Z"],
    ],
)
def test_other_forms_are_left_to_the_one_that_knows_them(texts: list[str]) -> None:
    assert plain_instants(texts) is None
