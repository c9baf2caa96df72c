"""The fields of an event by the names callers know them by, as SQL over the events table."""

from storage.query.parameters import Parameters

# Fields of the native surface and the columns that hold them.
COLUMNS = {
    "event": "event",
    "eventId": "event_id",
    "userId": "CASE WHEN identified_by = 'user' THEN distinct_id END",
    "distinctId": "distinct_id",
    "anonymousId": "anonymous_id",
    "sessionId": "session_id",
    "source": "source",
    "isPageview": "CASE WHEN is_pageview THEN 'true' ELSE 'false' END",
    "url": "url",
    "path": "path",
    "title": "title",
    "referrer": "referrer_domain",
    "referrerUrl": "referrer",
    "channel": "channel",
    "utm_source": "utm_source",
    "utm_medium": "utm_medium",
    "utm_campaign": "utm_campaign",
    "utm_term": "utm_term",
    "utm_content": "utm_content",
    "country": "country",
    "browser": "browser",
    "browserVersion": "browser_version",
    "os": "os",
    "device": "device",
    "properties": "properties",
}
_PROPERTY = "properties."


def field_sql(key: str, parameters: Parameters) -> str:
    """An expression of type VARCHAR, NULL where the event has no such field; unknown keys are properties."""
    if (column := COLUMNS.get(key)) is not None:
        return f"({column})"
    return property_sql(key.removeprefix(_PROPERTY), parameters)


def property_sql(name: str, parameters: Parameters) -> str:
    """A top-level property as text: a string without its quotes, anything else as JSON, null as NULL."""
    # A pointer and not a path: any name can be written as one.
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")
    return f"(properties ->> {parameters.bind(pointer)})"


def number_sql(name: str, parameters: Parameters) -> str:
    """A property as DOUBLE; NULL where it is no number."""
    return f"TRY_CAST({property_sql(name, parameters)} AS DOUBLE)"
