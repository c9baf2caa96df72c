"""The web columns of one event, worked out the same way for events of the door and of foreign producers."""

from dataclasses import astuple, replace
from functools import lru_cache
from typing import Any

from processors.enrich.agents import understand
from processors.enrich.campaigns import UTM_NAMES
from processors.enrich.countries import country_code
from processors.enrich.pages import NOWHERE, page
from processors.enrich.referrers import arrival
from schemas.bots import AGENT_PROPERTIES
from schemas.events import Context
from schemas.rows import NO_WEB, NOWHERE_FROM, Agent, Campaign, Web

_PLAIN = ("url", "path", "title", "referrer", *UTM_NAMES, "browser", "browser_version", "os", "device")
# Spelling in `properties` -> column; the spelling equal to its column is preferred over the others.
_COLUMNS: dict[str, str] = {
    **{name: name for name in _PLAIN},
    **{f"${name}": name for name in _PLAIN},
    "$current_url": "url",
    **dict.fromkeys(AGENT_PROPERTIES, "user_agent"),
}
WEB_KEYS = frozenset(_COLUMNS)

_DEVICES = ("desktop", "mobile", "tablet")


def enrich(properties: dict[str, Any] | None, context: Context | None, agent: str | None, country: str | None) -> Web:
    """The web columns of an event: its context first, then same-named properties; never raises.

    `agent` is the user agent of the connection, given only where the contract judges it; `country` is what the door
    knows. An agent that the event itself forwards goes before the connection's.
    """
    if not properties or WEB_KEYS.isdisjoint(properties):
        if context is None:
            return NO_WEB if agent is None and country is None else _connection_only(agent, country)
        return _page_view(
            context.url or None,
            context.path or None,
            context.title or None,
            context.referrer or None,
            understand(context.user_agent or agent),
            country,
        )
    said = _said(properties)
    if context is not None:
        _overlay(said, context)
    return _fields(said, agent, country)


@lru_cache(maxsize=8192)
def _connection_only(agent: str | None, country: str | None) -> Web:
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


def _page_view(
    url: str | None, path: str | None, title: str | None, referrer: str | None, client: Agent, country: str | None
) -> Web:
    """What a page, a referrer and an agent say where no property says otherwise."""
    place = page(url) if url is not None else NOWHERE
    tags = place.campaign
    path = path or place.path
    came = NOWHERE_FROM
    if url is not None or path is not None or referrer is not None:
        came = arrival(referrer, place.host, tags.utm_medium)
    return Web(url, path, title, referrer, country_code(country), came, tags, client)


def _fields(said: dict[str, str], connection_agent: str | None, country: str | None) -> Web:
    get = said.get
    url, referrer = get("url"), get("referrer")
    place = page(url) if url is not None else NOWHERE
    path = get("path") or place.path
    tags = _tags(place.campaign, *map(get, UTM_NAMES))
    came = NOWHERE_FROM
    if url or path or referrer or tags.utm_source or tags.utm_medium:
        came = arrival(referrer, place.host, tags.utm_medium)
    client = _client(
        understand(get("user_agent") or connection_agent),
        get("browser"),
        get("browser_version"),
        get("os"),
        _device(get("device")),
    )
    return Web(url, path, get("title"), referrer, country_code(country), came, tags, client)


@lru_cache(maxsize=8192)
def _tags(tags: Campaign, *said: str | None) -> Campaign:
    """What the address says, where the event itself does not."""
    return Campaign(*(own or other for own, other in zip(said, astuple(tags), strict=True)))


@lru_cache(maxsize=8192)
def _client(client: Agent, browser: str | None, version: str | None, os: str | None, device: str | None) -> Agent:
    return replace(
        client,
        browser=browser or client.browser,
        browser_version=version or (client.browser_version if browser is None else None),
        os=os or client.os,
        device=device or client.device,
    )


def _device(text: str | None) -> str | None:
    """A device as the event names it, where it is one of the three kinds."""
    if text is None:
        return None
    kind = text.lower()
    return kind if kind in _DEVICES else None
