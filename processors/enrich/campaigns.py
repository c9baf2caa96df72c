"""The five utm parameters of a query string."""

from urllib.parse import unquote_plus

from schemas.rows import UNTAGGED, Campaign

UTM_NAMES = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")


def campaign(query: str) -> Campaign:
    """The utm parameters of a query; of a repeated one the first non-empty value counts."""
    found: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        name = name.lower()
        if value and name in UTM_NAMES and name not in found:
            found[name] = unquote_plus(value)
    return Campaign(**found) if found else UNTAGGED
