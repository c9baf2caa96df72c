"""Which agents are bots, by which rule; HTTP libraries and people are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bots import RULES, bot_rule

_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("agent", "rule"),
    [
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "crawler:Googlebot"),
        (
            f"Mozilla/5.0 (Linux; Android 6.0.1) {_WEBKIT} Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://x.y)",
            "crawler:Googlebot",
        ),
        (f"Mozilla/5.0 {_WEBKIT}; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "crawler:bingbot"),
        ("Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)", "crawler:YandexBot"),
        ("Mozilla/5.0 (compatible; YandexImages/3.0; +http://yandex.com/bots)", "crawler:YandexImages"),
        ("Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/slurp)", "crawler:Slurp"),
        (f"Mozilla/5.0 {_WEBKIT}; compatible; GPTBot/1.2; +https://openai.com/gptbot)", "crawler:GPTBot"),
        ("Mozilla/5.0; compatible; ChatGPT-User/1.0; +https://openai.com/bot", "crawler:ChatGPT-User"),
        ("Mediapartners-Google", "crawler:Mediapartners-Google"),
        ("AdsBot-Google (+http://www.google.com/adsbot.html)", "crawler:AdsBot-Google"),
        ("Scrapy/2.11 (+https://scrapy.org)", "crawler:Scrapy"),
        ("FirecrawlAgent/1.0", "crawler:FirecrawlAgent"),
        ("UptimeRobot/2.0", "crawler:UptimeRobot"),
        ("Mozilla/5.0 (compatible; Unheard/1.0; +https://example.com/bot.html)", "crawler:bot.html"),
        ("Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/)", "spider:Baiduspider"),
        ("Screaming Frog SEO Spider/19.0", "spider:Spider"),
        ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "preview:facebookexternalhit"),
        ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "preview:Slackbot-LinkExpanding"),
        ("Twitterbot/1.0", "preview:Twitterbot"),
        ("WhatsApp/2.23.20.0 A", "preview:WhatsApp"),
        ("Pinterest/0.2 (+https://www.pinterest.com/bot.html)", "preview:Pinterest"),
        (f"Mozilla/5.0 (X11; Linux x86_64) {_WEBKIT} HeadlessChrome/126.0 Safari/537.36", "headless:HeadlessChrome"),
        ("Mozilla/5.0 (Unknown; Linux x86_64) PhantomJS/2.1.1 Safari/538.1", "headless:PhantomJS"),
    ],
)
def test_a_bot_is_named_with_its_rule(agent: str, rule: str) -> None:
    assert bot_rule(agent) == rule


@pytest.mark.parametrize(
    "agent",
    [
        "curl/8.4.0",
        "Wget/1.21",
        "python-requests/2.32",
        "Python-urllib/3.11",
        "python-httpx/0.27",
        "aiohttp/3.9",
        "node",
        "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
        "axios/1.7.2",
        "Go-http-client/1.1",
        "okhttp/4.12.0",
        "Java/17.0.2",
        "Apache-HttpClient/4.5.14 (Java/17)",
        "Google-HTTP-Java-Client/1.42.0 (gzip)",
        "Dart/3.2 (dart:io)",
        "PostmanRuntime/7.36",
        "WinHTTP",
    ],
)
def test_an_http_library_is_no_bot(agent: str) -> None:
    assert bot_rule(agent) is None


@pytest.mark.parametrize(
    "agent",
    [
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT} Chrome/126.0.0.0 Safari/537.36",
        f"Mozilla/5.0 (Linux; Android 10; CUBOT NOTE 20) {_WEBKIT} Chrome/126.0 Mobile Safari/537.36",
        f"Mozilla/5.0 (Linux; Android 9; M bot 60) {_WEBKIT} Chrome/126.0 Mobile Safari/537.36",
        f"Mozilla/5.0 (Linux; Android 5.1.1; KFGIWI) {_WEBKIT} Silk/108.9.5 like Chrome/108.0 Safari/537.36",
        f"Mozilla/5.0 (Windows NT 10.0) {_WEBKIT} Chrome/120.0 YaBrowser/24.1 Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile/15E148 [FBAN/FBIOS;FBAV/460.0]",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile/15E148 Instagram 330.0",
    ],
)
def test_a_person_is_no_bot(agent: str) -> None:
    assert bot_rule(agent) is None


@given(st.text())
def test_every_rule_that_fires_is_one_of_the_closed_set(agent: str) -> None:
    for text in (agent, f"{agent} spider", f"{agent} Headless"):
        rule = bot_rule(text)
        assert rule is None or rule.partition(":")[0] in RULES
    assert bot_rule(f"{agent} ;Googlebot/2.1") is not None
