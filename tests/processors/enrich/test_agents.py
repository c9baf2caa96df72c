"""What user agents say about browser, system and device."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.enrich.agents import AGENT_CHARACTERS, understand
from schemas.rows import NOBODY

_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
_APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5"


@pytest.mark.parametrize(
    ("agent", "browser", "version", "system", "device"),
    [
        (
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT} Chrome/126.0.0.0 Safari/537.36",
            "Chrome",
            "126",
            "Windows",
            "desktop",
        ),
        (
            f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_APPLE} Safari/605.1.15",
            "Safari",
            "17",
            "macOS",
            "desktop",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
            "Firefox",
            "127",
            "Linux",
            "desktop",
        ),
        (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {_WEBKIT} Chrome/126.0", "Chrome", "126", "Chrome OS", "desktop"),
        (
            f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) {_APPLE} Mobile/15E148 Safari/604.1",
            "Safari",
            "17",
            "iOS",
            "mobile",
        ),
        (
            f"Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) {_APPLE} Mobile/15E148 Safari/604.1",
            "Safari",
            "17",
            "iOS",
            "tablet",
        ),
        (
            f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {_WEBKIT} Chrome/126.0.0.0 Mobile Safari/537.36",
            "Chrome",
            "126",
            "Android",
            "mobile",
        ),
        (
            f"Mozilla/5.0 (Linux; Android 14; SM-X710) {_WEBKIT} Chrome/126.0.0.0 Safari/537.36",
            "Chrome",
            "126",
            "Android",
            "tablet",
        ),
        ("Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0", "Firefox", "127", "Android", "mobile"),
        ("Mozilla/5.0 (Android 14; Tablet; rv:127.0) Gecko/127.0 Firefox/127.0", "Firefox", "127", "Android", "tablet"),
        ("curl/8.4.0", "curl", "8", None, None),
        ("Go-http-client/1.1", "Go-http-client", "1", None, None),
    ],
)
def test_browsers_and_devices(agent: str, browser: str, version: str, system: str | None, device: str | None) -> None:
    said = understand(agent)
    assert (said.browser, said.browser_version, said.os, said.device) == (browser, version, system, device)
    assert not said.is_bot
    assert said.bot_rule is None


@pytest.mark.parametrize(
    "agent",
    [
        f"Mozilla/5.0 (SMART-TV; Linux; Tizen 5.0) {_WEBKIT} Version/5.0 TV Safari/537.36",
        f"Mozilla/5.0 (Linux; Android 9; AFTMM) {_WEBKIT} Chrome/100.0 Safari/537.36",
        f"Mozilla/5.0 (Linux; Android 10; BRAVIA 4K) {_WEBKIT} Chrome/100.0 Safari/537.36",
    ],
)
def test_a_television_is_none_of_the_three_devices(agent: str) -> None:
    assert understand(agent).device is None


@pytest.mark.parametrize("agent", [None, ""])
def test_no_agent_says_nothing_and_is_no_bot(agent: str | None) -> None:
    said = understand(agent)
    assert said is NOBODY
    assert (said.browser, said.browser_version, said.os, said.device, said.bot_rule) == (None,) * 5
    assert said.is_bot is False


def test_a_bot_keeps_its_browser_beside_the_rule() -> None:
    said = understand("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)")
    assert said.is_bot
    assert said.bot_rule == "crawler:Googlebot"
    assert said.browser == "Googlebot"


def test_an_endless_agent_is_read_only_to_its_limit() -> None:
    padding = "x" * AGENT_CHARACTERS
    assert understand(f"{padding} Googlebot/2.1") is understand(padding)
    assert understand(f"Googlebot/2.1 {padding}").is_bot


def test_an_agent_is_parsed_once() -> None:
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
    assert understand(agent) is understand(str(agent))


@given(st.text(st.characters(exclude_categories=())))
def test_no_text_makes_it_raise(agent: str) -> None:
    said = understand(agent)
    assert said.is_bot is (said.bot_rule is not None)
    assert said.device in (None, "desktop", "mobile", "tablet")
