"""Event names and country codes with a meaning of their own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.enrich.countries import country_code
from schemas.kinds import is_pageview, is_system


@pytest.mark.parametrize(
    "name",
    ["pageview", "page_view", "$pageview", "Page View", "PAGE-VIEW", "Page Viewed", "pageviewed", "$page_viewed"],
)
def test_pageviews(name: str) -> None:
    assert is_pageview(name)


@pytest.mark.parametrize(
    "name", ["", "pageviews", "screen_view", "page", "view", "page.view", "pageleave", "$heartbeat"]
)
def test_other_names_are_no_pageviews(name: str) -> None:
    assert not is_pageview(name)


def test_system_events_are_three_exact_names() -> None:
    assert all(map(is_system, ("$engagement", "$heartbeat", "$heatmap")))
    assert not any(map(is_system, ("engagement", "$Heartbeat", "heatmap", "$pageview", "")))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("DE", "DE"),
        ("de", "DE"),
        (" us ", "US"),
        (None, None),
        ("", None),
        ("DEU", None),
        ("Germany", None),
        ("D1", None),
        ("ÄÖ", None),
        ("XX", None),
    ],
)
def test_country_codes(text: str | None, code: str | None) -> None:
    assert country_code(text) == code


@given(st.text(st.characters(exclude_categories=())))
def test_no_text_makes_them_raise(text: str) -> None:
    is_pageview(text)
    is_system(text)
    code = country_code(text)
    assert code is None or (len(code) == 2 and "A" <= code[0] <= "Z" and "A" <= code[1] <= "Z")
