"""The web columns of one event, worked out the same way for events of the door and of foreign producers."""

from functools import lru_cache
from typing import Any

from processors.enrich.agents import NOBODY, Agent, understand
from processors.enrich.campaigns import UTM_NAMES
from processors.enrich.countries import country_code
from processors.enrich.pages import NOWHERE, page
from processors.enrich.referrers import arrival
from schemas.events import Context
from schemas.rows import WebFields

EMPTY = WebFields()

_PLAIN = ("url", "path", "title", "referrer", *UTM_NAMES, "browser", "browser_version", "os", "device")
# Spelling in `properties` -> column; the spelling equal to its column is preferred over the others.
_COLUMNS: dict[str, str] = {
    **{name: name for name in _PLAIN},
    **{f"${name}": name for name in _PLAIN},
    "$current_url": "url",
    "user_agent": "user_agent",
    "$user_agent": "user_agent",
    "userAgent": "user_agent",
    "$userAgent": "user_agent",
}
WEB_KEYS = frozenset(_COLUMNS)

_DEVICES = ("desktop", "mobile", "tablet")


def enrich(
    properties: dict[str, Any] | None, context: Context | None, agent: str | None, country: str | None
) -> WebFields:
    """The web columns of an event: its context first, then same-named properties; never raises.

    `agent` is the user agent of the connection, given only where the contract judges it; `country` is what the door
    knows. An agent that the event itself forwards goes before the connection's.
    """
    if context is None and (not properties or WEB_KEYS.isdisjoint(properties)):
        return EMPTY if agent is None and country is None else _connection_only(agent, country)
    said = _said(properties) if properties else {}
    if context is not None:
        _overlay(said, context)
    return _fields(said, agent, country)


@lru_cache(maxsize=8192)
def _connection_only(agent: str | None, country: str | None) -> WebFields:
    return _fields({}, agent, country)


def _said(properties: dict[str, Any]) -> dict[str, str]:
    """The web texts among the properties, by column; anything but a non-empty text is ignored."""
    said: dict[str, str] = {}
    for key in properties:
        column = _COLUMNS.get(key)
        if column is not None and (key == column or column not in said):
            value = properties[key]
            if type(value) is str and value:
                said[column] = value
    return said


def _overlay(said: dict[str, str], context: Context) -> None:
    if context.url:
        said["url"] = context.url
    if context.path:
        said["path"] = context.path
    if context.title:
        said["title"] = context.title
    if context.referrer:
        said["referrer"] = context.referrer
    if context.user_agent:
        said["user_agent"] = context.user_agent


def _fields(said: dict[str, str], connection_agent: str | None, country: str | None) -> WebFields:
    get = said.get
    url, referrer = get("url"), get("referrer")
    place = page(url) if url is not None else NOWHERE
    tags = place.campaign
    path = get("path") or place.path
    source = get("utm_source") or tags.utm_source
    medium = get("utm_medium") or tags.utm_medium
    agent = get("user_agent") or connection_agent
    client: Agent = understand(agent) if agent else NOBODY
    domain = channel = None
    if url is not None or path is not None or referrer is not None or source is not None or medium is not None:
        came = arrival(referrer, place.host, medium)
        domain, channel = came.referrer_domain, came.channel
    browser = get("browser")
    device = get("device")
    return WebFields(
        url,
        path,
        get("title"),
        referrer,
        domain,
        channel,
        source,
        medium,
        get("utm_campaign") or tags.utm_campaign,
        get("utm_term") or tags.utm_term,
        get("utm_content") or tags.utm_content,
        country_code(country),
        browser or client.browser,
        get("browser_version") or (client.browser_version if browser is None else None),
        get("os") or client.os,
        _device(device) or client.device,
        client.is_bot,
        client.bot_rule,
    )


def _device(text: str | None) -> str | None:
    """A device as the event names it, where it is one of the three kinds."""
    if text is None:
        return None
    kind = text.lower()
    return kind if kind in _DEVICES else None
