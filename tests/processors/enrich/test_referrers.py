"""Where people come from: referring domain and channel."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.enrich.referrers import DIRECT, arrival, channel, referrer_domain
from processors.enrich.sites import SEARCH_DOMAINS, SEARCH_HOSTS, SOCIAL_DOMAINS, is_search, is_social
from schemas.rows import Arrival


@pytest.mark.parametrize(
    ("referrer", "domain"),
    [
        ("https://www.Google.com/search?q=x", "google.com"),
        ("https://news.example.org:8443/a", "news.example.org"),
        ("www.example.org/page", "example.org"),
        ("example.org", "example.org"),
        ("android-app://com.google.android.googlequicksearchbox/", "com.google.android.googlequicksearchbox"),
        ("http://localhost:3000/", "localhost"),
        ("$direct", None),
        ("(direct)", None),
        ("about:blank", None),
        ("file:///C:/page.html", None),
        ("/only/a/path", None),
        ("Dr. No said so", None),
        ("http://[::1", None),
    ],
)
def test_the_referring_domain(referrer: str, domain: str | None) -> None:
    assert referrer_domain(referrer) == domain


@pytest.mark.parametrize(
    ("referrer", "host", "expected"),
    [
        (None, "example.com", Arrival(DIRECT, "direct")),
        ("", "example.com", Arrival(DIRECT, "direct")),
        ("https://www.example.com/before", "example.com", Arrival(DIRECT, "direct")),
        ("https://blog.example.com/", "example.com", Arrival("blog.example.com", "referral")),
        ("https://www.google.de/", "example.com", Arrival("google.de", "organic")),
        ("https://l.facebook.com/l.php", "example.com", Arrival("l.facebook.com", "social")),
        ("https://partner.org/", None, Arrival("partner.org", "referral")),
    ],
)
def test_none_or_own_is_direct(referrer: str | None, host: str | None, expected: Arrival) -> None:
    assert arrival(referrer, host, None) == expected


@pytest.mark.parametrize(
    ("domain", "medium", "expected"),
    [
        ("google.com", "cpc", "paid"),
        ("facebook.com", "PPC", "paid"),
        (None, "display", "paid"),
        (None, "cpm", "paid"),
        (None, "paid-social", "paid"),
        ("google.com", "social", "social"),
        ("facebook.com", None, "social"),
        ("t.co", "email", "social"),
        (None, "email", "email"),
        ("google.com", "E-Mail", "email"),
        ("google.com", None, "organic"),
        ("google.com", "banner", "organic"),
        ("partner.org", None, "referral"),
        (None, None, "direct"),
        (None, "banner", "direct"),
    ],
)
def test_the_first_rule_that_matches_is_the_channel(domain: str | None, medium: str | None, expected: str) -> None:
    assert channel(domain, medium) == expected


@pytest.mark.parametrize(
    "host", ["google.com", "google.co.uk", "google.com.br", "m.yandex.ru", "cn.bing.com", "duckduckgo.com", "yahoo.com"]
)
def test_search_engines(host: str) -> None:
    assert is_search(host)
    assert not is_social(host)


@pytest.mark.parametrize(
    "host", ["x.com", "m.facebook.com", "old.reddit.com", "t.co", "pinterest.co.uk", "news.ycombinator.com"]
)
def test_social_networks(host: str) -> None:
    assert is_social(host)
    assert not is_search(host)


@pytest.mark.parametrize(
    "host", ["mail.google.com", "docs.google.com", "mail.yahoo.com", "notbing.com", "netflix.com", "google.example.com"]
)
def test_neighbours_are_neither(host: str) -> None:
    assert not is_search(host)
    assert not is_social(host)


def test_the_tables_are_written_as_hosts_are_looked_up() -> None:
    for host in SEARCH_HOSTS | SEARCH_DOMAINS | SOCIAL_DOMAINS:
        assert host == host.lower().removeprefix("www.")
        assert host.count(".") < 4  # only four labels are looked at
    assert not SOCIAL_DOMAINS & (SEARCH_HOSTS | SEARCH_DOMAINS)


_ANY = st.text(st.characters(exclude_categories=()))


@given(_ANY, st.none() | _ANY, st.none() | _ANY)
def test_no_text_makes_it_raise(referrer: str, host: str | None, medium: str | None) -> None:
    for text in (referrer, f"https://{referrer}"):
        came = arrival(text, host, medium)
        assert came.referrer_domain
        assert came == arrival(text, host, medium)
