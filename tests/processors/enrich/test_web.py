"""The web columns of an event, from its context, its properties and its connection."""

import dataclasses
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.enrich.web import WEB_KEYS
from processors.enrich.web import enrich as enrich_web
from schemas.events import Context
from schemas.rows import NO_WEB, WebFields

_CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
)
_GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
_URL = "https://www.example.com/pricing?utm_source=news&utm_medium=email&utm_campaign=may&utm_term=t&utm_content=c"

_FULL = WebFields(
    url=_URL,
    path="/pricing",
    title="Pricing",
    referrer="https://www.google.com/search",
    referrer_domain="google.com",
    channel="email",
    utm_source="news",
    utm_medium="email",
    utm_campaign="may",
    utm_term="t",
    utm_content="c",
    country="DE",
    browser="Chrome",
    browser_version="126",
    os="Windows",
    device="desktop",
)


def enrich(
    properties: dict[str, Any] | None, context: Context | None, agent: str | None, country: str | None
) -> WebFields:
    """The columns, as they are in a row."""
    web = enrich_web(properties, context, agent, country)
    parts = [dataclasses.asdict(part) for part in (web.arrival, web.campaign, web.agent)]
    return WebFields(
        web.url, web.path, web.title, web.referrer, country=web.country, **parts[0], **parts[1], **parts[2]
    )


@pytest.mark.parametrize("properties", [None, {}, {"plan": "pro", "amount": 12, "Url": "https://example.com/"}])
def test_an_event_without_web_keys_shares_one_empty_answer(properties: dict[str, Any] | None) -> None:
    assert enrich_web(properties, None, None, None) is NO_WEB


def test_an_event_of_the_door_and_the_same_one_without_its_context_are_alike() -> None:
    context = Context(_URL, None, "Pricing", "https://www.google.com/search", _CHROME)
    plain = {"url": _URL, "title": "Pricing", "referrer": "https://www.google.com/search", "userAgent": _CHROME}
    dollar = {"$current_url": _URL, "$title": "Pricing", "$referrer": "https://www.google.com/search"}
    assert enrich({"plan": "pro"}, context, None, "de") == _FULL
    assert enrich(None, context, None, "de") == _FULL
    assert enrich(plain, None, None, "de") == _FULL
    assert enrich({**dollar, "$user_agent": _CHROME}, None, None, "de") == _FULL
    assert enrich(dollar, None, _CHROME, "DE") == _FULL


def test_context_goes_before_properties_and_plain_names_before_dollars() -> None:
    properties = {"$title": "dollar", "title": "plain", "$current_url": "/a", "url": "/b", "path": "/c"}
    assert enrich(properties, None, None, None).title == "plain"
    assert enrich(dict(reversed(properties.items())), None, None, None).title == "plain"
    assert enrich(properties, None, None, None).url == "/b"
    assert enrich(properties, Context(title="context"), None, None).title == "context"
    assert enrich(properties, Context(url="/d", path="/e"), None, None).path == "/e"


def test_a_path_that_was_sent_goes_before_the_one_of_the_url() -> None:
    fields = enrich({"url": "https://example.com/app?utm_source=a", "path": "/app#/settings"}, None, None, None)
    assert (fields.path, fields.utm_source) == ("/app#/settings", "a")


def test_utm_properties_go_before_those_of_the_url_and_set_the_channel() -> None:
    fields = enrich({"url": _URL, "utm_medium": "cpc", "$utm_source": "ads"}, None, None, None)
    assert (fields.utm_source, fields.utm_medium, fields.utm_campaign, fields.channel) == ("ads", "cpc", "may", "paid")


@pytest.mark.parametrize("value", [1, True, None, 1.5, ["https://example.com/"], {"href": "/"}, ""])
def test_only_texts_count(value: object) -> None:
    assert enrich(dict.fromkeys(WEB_KEYS, value), None, None, None) == WebFields()


def test_a_text_behind_an_ignored_spelling_counts() -> None:
    assert enrich({"url": 7, "$current_url": "/a"}, None, None, None).url == "/a"


def test_browser_system_and_device_that_were_sent_go_before_the_agent() -> None:
    properties = {"$browser": "Firefox", "$os": "Plan 9", "device": "Tablet"}
    fields = enrich(properties, None, _CHROME, None)
    assert (fields.browser, fields.browser_version, fields.os, fields.device) == ("Firefox", None, "Plan 9", "tablet")
    assert enrich({"device": "iPhone"}, None, _CHROME, None).device == "desktop"
    assert enrich({"$browser_version": "9"}, None, _CHROME, None).browser_version == "9"


def test_events_without_a_page_have_no_referrer_domain_and_no_channel() -> None:
    fields = enrich({"$os": "Android"}, None, _CHROME, "FR")
    assert (fields.referrer_domain, fields.channel) == (None, None)
    fields = enrich({"path": "/"}, None, None, None)
    assert (fields.referrer_domain, fields.channel) == ("(direct)", "direct")


def test_the_connection_alone_gives_agent_and_country() -> None:
    fields = enrich({"plan": "pro"}, None, _CHROME, "fr")
    assert fields == WebFields(country="FR", browser="Chrome", browser_version="126", os="Windows", device="desktop")
    assert enrich(None, None, None, "Germany") == WebFields()


def test_a_forwarded_agent_is_judged_before_the_connections() -> None:
    judged = enrich(None, Context(user_agent=_GOOGLEBOT), _CHROME, None)
    assert (judged.is_bot, judged.bot_rule) == (True, "crawler:Googlebot")
    assert enrich({"userAgent": _GOOGLEBOT}, None, _CHROME, None).is_bot
    assert enrich(None, None, _GOOGLEBOT, None).is_bot
    assert not enrich({"userAgent": _CHROME}, None, _GOOGLEBOT, None).is_bot
    assert not enrich({"userAgent": _GOOGLEBOT}, Context(user_agent=_CHROME), None, None).is_bot
    assert not enrich({"userAgent": "python-requests/2.32"}, None, None, None).is_bot


_TEXT = st.text(st.characters(exclude_categories=()))
_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | _TEXT | st.lists(_TEXT, max_size=2)
_PROPERTIES = st.dictionaries(st.sampled_from(sorted(WEB_KEYS)) | _TEXT, _VALUES, max_size=8)


@given(
    st.none() | _PROPERTIES,
    st.none() | st.builds(Context, *[st.none() | _TEXT] * 5),
    st.none() | _TEXT,
    st.none() | _TEXT,
)
def test_nothing_makes_it_raise_and_every_column_is_a_text_or_none(
    properties: dict[str, Any] | None, context: Context | None, agent: str | None, country: str | None
) -> None:
    fields = enrich(properties, context, agent, country)
    texts = msgspec.structs.asdict(fields)
    assert texts.pop("is_bot") is (fields.bot_rule is not None)
    assert all(value is None or (type(value) is str and value) for value in texts.values())
    assert fields == enrich(properties, context, agent, country)
