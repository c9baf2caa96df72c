"""Hosts that search engines and social networks send people from: plain data, to be extended."""

import re

# The host itself, without `www.`: other hosts of these domains (mail, documents) are no search engines.
SEARCH_HOSTS = frozenset(
    {
        "aol.com",
        "ask.com",
        "com.google.android.googlequicksearchbox",
        "images.google.com",
        "m.search.naver.com",
        "search.aol.com",
        "search.brave.com",
        "search.daum.net",
        "search.naver.com",
        "search.seznam.cz",
        "seznam.cz",
        "ya.ru",
        "yahoo.co.jp",
        "yahoo.com",
    }
)

# Any host of these domains.
SEARCH_DOMAINS = frozenset(
    {
        "baidu.com",
        "bing.com",
        "coccoc.com",
        "dogpile.com",
        "duckduckgo.com",
        "ecosia.org",
        "kagi.com",
        "metager.org",
        "mojeek.com",
        "petalsearch.com",
        "qwant.com",
        "search.yahoo.co.jp",
        "search.yahoo.com",
        "so.com",
        "sogou.com",
        "startpage.com",
        "swisscows.com",
        "yep.com",
    }
)

# Any host of these domains; the last part of the list are the referrers of Android apps.
SOCIAL_DOMAINS = frozenset(
    {
        "bsky.app",
        "discord.com",
        "discordapp.com",
        "douban.com",
        "douyin.com",
        "facebook.com",
        "fb.com",
        "fb.me",
        "instagram.com",
        "line.me",
        "linkedin.com",
        "lnkd.in",
        "mastodon.online",
        "mastodon.social",
        "messenger.com",
        "news.ycombinator.com",
        "nextdoor.com",
        "ok.ru",
        "pin.it",
        "quora.com",
        "reddit.com",
        "snapchat.com",
        "t.co",
        "t.me",
        "telegram.me",
        "threads.com",
        "threads.net",
        "tiktok.com",
        "tumblr.com",
        "twitch.tv",
        "twitter.com",
        "vk.com",
        "vkontakte.ru",
        "web.telegram.org",
        "weibo.cn",
        "weibo.com",
        "whatsapp.com",
        "x.com",
        "xing.com",
        "youtu.be",
        "youtube.com",
        "zhihu.com",
        "com.facebook.katana",
        "com.instagram.android",
        "com.linkedin.android",
        "com.reddit.frontpage",
        "com.twitter.android",
        "org.telegram.messenger",
    }
)

# Sites with a host in each country: `google.de`, `yandex.com.tr`, `pinterest.co.uk`.
_COUNTRY = r"\.(?:[a-z]{2,3}|com?\.[a-z]{2})"
_SEARCH = re.compile(rf"(?:m\.)?(?:google|yandex){_COUNTRY}")
_SOCIAL = re.compile(rf"(?:[a-z]{{2}}\.)?pinterest{_COUNTRY}")


def is_search(host: str) -> bool:
    """Whether people come from a search engine when they come from this host (lower case, no `www.`)."""
    return host in SEARCH_HOSTS or _within(host, SEARCH_DOMAINS) or _SEARCH.fullmatch(host) is not None


def is_social(host: str) -> bool:
    """Whether this host belongs to a social network."""
    return _within(host, SOCIAL_DOMAINS) or _SOCIAL.fullmatch(host) is not None


def _within(host: str, domains: frozenset[str]) -> bool:
    """Whether the host or a domain above it is listed."""
    labels = host.split(".")[-4:]
    return any(".".join(labels[start:]) in domains for start in range(len(labels)))
