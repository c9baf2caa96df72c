"""Cohorly's records as events of the core form. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from schemas.instants import format_millis, from_millis
from schemas.people import ALIAS, PROFILE, ProfileChange

# What a record says of itself is a field of the event, and a token is nobody else's business.
_FIELDS = ("token", "distinct_id", "time", "$insert_id", "$session_id")
_OPERATIONS = {"$set": "set", "$set_once": "setOnce", "$add": "add", "$unset": "unset", "$delete": "delete"}
GUARDED = frozenset({"$unset", "$delete"})


class InvalidRecord(ValueError):
    """A record of which no event can be made."""


def token_of(record: Any, header: str | None) -> Any:
    """The token a record carries, which goes before the header's."""
    if isinstance(record, dict):
        properties = record.get("properties")
        for place in (record, properties if isinstance(properties, dict) else {}):
            if place.get("token") is not None:
                return place["token"]
    return header


def event_of(record: Any) -> dict[str, Any]:
    """One tracked event. Raises InvalidRecord."""
    if not isinstance(record, dict) or not isinstance(name := record.get("event"), str) or not name:
        raise InvalidRecord("invalid event")
    properties = record.get("properties")
    if not isinstance(properties, dict):
        raise InvalidRecord("invalid event")
    event = {
        "event": name,
        "userId": _id(properties.get("distinct_id")),
        "sessionId": _text(properties.get("$session_id")),
        "eventId": _text(properties.get("$insert_id")),
        "properties": {key: value for key, value in properties.items() if key not in _FIELDS},
    }
    if (time := properties.get("time")) is not None:
        event["timestamp"] = _instant(time)
    return event


def change_of(operation: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """One change of a profile, and which guarded operations it has. Raises InvalidRecord."""
    if not isinstance(operation, dict):
        raise InvalidRecord("invalid operation")
    named = {name: operation[name] for name in _OPERATIONS if operation.get(name) not in (None, False)}
    if not named:
        raise InvalidRecord("invalid operation")
    properties = {_OPERATIONS[name]: value for name, value in named.items()}
    try:
        msgspec.convert(properties, ProfileChange)
    except msgspec.ValidationError as error:
        raise InvalidRecord("invalid operation") from error
    event = {"event": PROFILE, "userId": _id(operation.get("distinct_id")), "properties": properties}
    return event, GUARDED & named.keys()


def alias_of(record: Any) -> dict[str, Any]:
    """That two ids are one person. Raises InvalidRecord."""
    if not isinstance(record, dict):
        raise InvalidRecord("invalid alias")
    return {"event": ALIAS, "userId": _id(record.get("distinct_id")), "properties": {"alias": _id(record.get("alias"))}}


def known_once(events: list[tuple[int, Mapping[str, Any]]]) -> list[tuple[int, Mapping[str, Any]]]:
    """(project, event) pairs without those that repeat an id of the same project."""
    seen: set[tuple[int, str]] = set()
    found = []
    for project, event in events:
        named = event["eventId"]
        if named is None or (project, named) not in seen:
            found.append((project, event))
            seen.add((project, named or ""))
    return found


def _id(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise InvalidRecord("invalid distinct_id")
    return value


def _text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidRecord("invalid event")
    return value or None


def _instant(value: Any) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InvalidRecord("invalid time")
    try:
        from_millis(int(value))
        return format_millis(int(value))
    except (ValueError, OverflowError) as error:
        raise InvalidRecord("invalid time") from error
