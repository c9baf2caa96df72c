"""What a user agent says about browser, system, device and whether it is a bot."""

import re
from functools import lru_cache

from ua_parser import parse

from schemas.bots import bot_rule
from schemas.rows import NOBODY, Agent, Device

# Longer agents are cut: no browser sends more, and both the parse and the cache must stay bounded.
AGENT_CHARACTERS = 1024

_TELEVISION = re.compile(
    r"SMART-TV|SmartTV|Smart-TV|GoogleTV|Android TV|AppleTV|Apple TV|BRAVIA|AFT[A-Z]|CrKey|HbbTV|Roku"
)
_TABLET = re.compile(r"iPad|Tablet(?! PC)|PlayBook|Kindle|Silk/(?!.*Mobile)|KF[A-Z]{2,4}\b")
_MOBILE = re.compile(r"iPhone|iPod|Mobile|Mobi\b|Windows Phone|BlackBerry|BB10|Opera Mini|KAIOS|Symbian|Nokia")
_DESKTOP = re.compile(r"Windows NT|Macintosh|Mac OS X|X11|CrOS|Linux (?:x86_64|i686|aarch64)|Win64|WOW64")

# The device has a column of its own, so a browser and its mobile edition are one browser.
_BROWSERS = {
    "Chrome Mobile": "Chrome",
    "Chrome Mobile iOS": "Chrome",
    "Mobile Safari": "Safari",
    "Firefox Mobile": "Firefox",
    "Firefox iOS": "Firefox",
    "Edge Mobile": "Edge",
    "Opera Mobile": "Opera",
}
_SYSTEMS = {"Mac OS X": "macOS"}


def understand(agent: str | None) -> Agent:
    """What this user agent says; nothing at all for an absent or empty one."""
    return _understand(agent[:AGENT_CHARACTERS]) if agent else NOBODY


@lru_cache(maxsize=8192)
def _understand(agent: str) -> Agent:
    # Half a surrogate pair cannot reach the parser, which reads UTF-8.
    text = agent.encode("utf-8", "replace").decode()
    parsed = parse(text)
    family = parsed.user_agent.family if parsed.user_agent else None
    rule = bot_rule(text)
    return Agent(
        browser=_BROWSERS.get(family, family) if family else None,
        browser_version=parsed.user_agent.major if parsed.user_agent else None,
        os=_SYSTEMS.get(parsed.os.family, parsed.os.family) if parsed.os else None,
        device=device(text),
        is_bot=rule is not None,
        bot_rule=rule,
    )


def device(agent: str) -> Device | None:
    """The kind of device the agent names; None for libraries, televisions and the unknown."""
    if _TELEVISION.search(agent):
        return None
    if _TABLET.search(agent):
        return "tablet"
    if _MOBILE.search(agent):
        return "mobile"
    if "Android" in agent:  # Android browsers say `Mobile` on phones only
        return "tablet"
    return "desktop" if _DESKTOP.search(agent) else None
