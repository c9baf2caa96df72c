"""Page addresses and their campaigns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.enrich.campaigns import campaign
from processors.enrich.pages import CACHED_CHARACTERS, NOWHERE, Page, page, split
from schemas.rows import UNTAGGED, Campaign


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("https://www.Example.com/pricing?plan=a#top", "example.com", "/pricing"),
        ("https://example.com", "example.com", "/"),
        ("https://example.com?x=1", "example.com", "/"),
        ("http://localhost:3000/a/b/", "localhost", "/a/b/"),
        ("http://user:secret@example.com./x", "example.com", "/x"),
        ("//example.com/x", "example.com", "/x"),
        ("http://[2001:db8::1]:8080/x", "2001:db8::1", "/x"),
        ("/relative/page?x=1", None, "/relative/page"),
        ("https://example.com/caf%C3%A9", "example.com", "/caf%C3%A9"),
    ],
)
def test_host_and_path(url: str, host: str | None, path: str) -> None:
    assert page(url) == Page(host, path, UNTAGGED)


@pytest.mark.parametrize("url", ["http://[::1", "https://[bad]/x", "http://exa\u2100mple.com/"])
def test_an_unreadable_address_has_no_parts(url: str) -> None:
    assert page(url) is NOWHERE


def test_the_campaign_of_an_address() -> None:
    url = (
        "https://example.com/?utm_source=news+letter&utm_medium=email&utm_campaign=a%26b"
        "&utm_term=shoes&utm_content=caf%C3%A9&utm_id=7&x=utm_source"
    )
    assert page(url).campaign == Campaign("news letter", "email", "a&b", "shoes", "café")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("utm_source=a&utm_source=b", Campaign("a")),
        ("utm_source=&utm_source=b", Campaign("b")),
        ("UTM_Source=Mail", Campaign("Mail")),
        ("utm_source", UNTAGGED),
        ("utm_source=%ff", Campaign("\ufffd")),
        ("utm_source=a=b", Campaign("a=b")),
        ("&&=&utm_=x", UNTAGGED),
    ],
)
def test_odd_queries(query: str, expected: Campaign) -> None:
    assert campaign(query) == expected


def test_a_long_address_is_understood_but_not_kept() -> None:
    url = f"https://example.com/long?utm_source=a&x={'y' * CACHED_CHARACTERS}"
    assert page(url) == Page("example.com", "/long", Campaign("a"))
    assert page(url).campaign is not page(url).campaign
    short = "https://example.com/short?utm_source=a"
    assert page(short).campaign is page(short).campaign


@given(st.text(st.characters(exclude_categories=())))
def test_no_text_makes_it_raise(text: str) -> None:
    for url in (text, f"https://{text}", f"https://example.com/{text}", f"https://example.com/?utm_source={text}"):
        found = page(url)
        assert found.host is None or found.host == found.host.lower()


@given(
    st.text("abC:/?#&=.%[]@ -", max_size=30) | st.text(max_size=20),
    st.sampled_from(["http://", "https://", "https://www.example.com", "http://a.b:80/", "//x", ""]),
)
def test_plain_addresses_are_read_as_the_library_reads_them(rest: str, start: str) -> None:
    assert page(start + rest) == split(start + rest)
