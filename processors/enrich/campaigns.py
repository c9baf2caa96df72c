"""The five utm parameters of a query string."""

from dataclasses import dataclass
from urllib.parse import unquote_plus

UTM_NAMES = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")


@dataclass(frozen=True, slots=True)
class Campaign:
    """What brought a person here, as the link was tagged."""

    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    utm_term: str | None = None
    utm_content: str | None = None


UNTAGGED = Campaign()


def campaign(query: str) -> Campaign:
    """The utm parameters of a query; of a repeated one the first non-empty value counts."""
    found: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        name = name.lower()
        if value and name in UTM_NAMES and name not in found:
            found[name] = unquote_plus(value)
    return Campaign(**found) if found else UNTAGGED
