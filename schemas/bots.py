"""Which user agents are bots, and which rule says so.

A bot is an agent that names a crawler, a spider, a preview fetcher or a headless browser. HTTP libraries are not bots:
they carry the events of servers and apps. That is why the `Spider` of ua-parser is not asked: it counts Java,
Python-urllib and WinHTTP among the spiders, and any agent with `silk`, `yahoo` or `zao` in it.
"""

import re
from typing import Literal, get_args

from schemas.events import Event

# Where an event may forward the user agent it came from; the first is preferred.
AGENT_PROPERTIES = ("user_agent", "$user_agent", "userAgent", "$userAgent")

BotRule = Literal["headless", "preview", "spider", "crawler"]
RULES: tuple[BotRule, ...] = get_args(BotRule)

# Phones whose brand ends in "bot"; they are people.
_PHONES = re.compile(r"cubot|\bm bot\b", re.IGNORECASE)

# A product name is cut out whole (`Googlebot`, `AdsBot-Google`); its length is bounded so that a search stays linear.
_NAME = r"(?<![\w.-])[\w.-]{0,40}?"
_REST = r"[\w.-]{0,40}"

_NAMED: dict[BotRule, str] = {
    "headless": (
        r"\bHeadless\w*|\bPhantomJS|\bSlimerJS|\bChrome-Lighthouse|\bPuppeteer|\bPlaywright"
        r"|\bPTST(?=/)|\bDatadogSynthetics|\bCheckly"
    ),
    "preview": (
        r"\b(?:facebookexternalhit|facebookcatalog|meta-externalfetcher|WhatsApp(?=/)|Slackbot[\w-]*|Slack-ImgProxy"
        r"|Twitterbot|TelegramBot|LinkedInBot|Discordbot|redditbot|Pinterestbot|Pinterest(?=/0)|vkShare|SkypeUriPreview"
        r"|MicrosoftPreview|BingPreview|Google Web Preview|GoogleImageProxy|YahooMailProxy|Snap URL Preview Service"
        r"|Iframely|Embedly|Bluesky Cardyb|Mastodon(?=/)|Mattermost-Bot|XING-contenttabreceiver|LinkPreview|UrlPreview)"
    ),
    "spider": rf"{_NAME}spider{_REST}",
    "crawler": (
        rf"{_NAME}bots?(?![a-z]){_REST}|{_NAME}crawl{_REST}"
        r"|\b(?:Mediapartners-Google|APIs-Google|FeedFetcher-Google|GoogleOther[\w-]*|GoogleProducer"
        r"|Google-(?:InspectionTool|Extended|Site-Verification|Read-Aloud|Safety|Adwords[\w-]*|Ads[\w-]*)"
        r"|Slurp|Teoma|ia_archiver|heritrix|Nutch|Scrapy|HTTrack|BUbiNG|larbin|Qwantify|Daumoa|Yeti(?=/)|ichiro(?=/)"
        r"|NetcraftSurveyAgent|Barkrowler|AhrefsSiteAudit|Screaming Frog|StatusCake|Site24x7"
        r"|Yandex(?:Images|ImageResizer|Video|VideoParser|Media|Blogs|Favicons|Webmaster|Pagechecker|Direct|DirectDyn"
        r"|Metrika|Market|News|Vertis|Calendar|Sitelinks|Turbo|AdNet|RenderResources)(?![a-z])"
        r"|meta-externalagent|meta-webindexer|ChatGPT-User|Claude-User|Claude-Web|anthropic-ai|cohere-ai"
        r"|Perplexity-User|MistralAI-User)"
    ),
}
_PATTERNS: dict[BotRule, re.Pattern[str]] = {rule: re.compile(_NAMED[rule], re.IGNORECASE) for rule in RULES}


def bot_rule(agent: str) -> str | None:
    """The rule that fires for this agent with the name it found, as `crawler:Googlebot`; None for everybody else."""
    people_aside = _PHONES.sub("", agent)
    for rule in RULES:
        found = _PATTERNS[rule].search(people_aside)
        if found is not None:
            return f"{rule}:{found.group()}"
    return None


def forwarded_agent(event: Event) -> str | None:
    """The user agent that an event forwards, which goes before that of the connection it came by."""
    if event.context is not None and event.context.user_agent:
        return event.context.user_agent
    said = event.properties or {}
    return next((value for name in AGENT_PROPERTIES if isinstance(value := said.get(name), str) and value), None)
