"""What occurs in a selection: names of events, keys of properties, and their values, most frequent first."""

from schemas.names import EventName, NamesQuestion, PropertyKey, PropertyValue
from storage.query.engine import Cursor
from storage.query.fields import property_sql
from storage.query.lake import Lake
from storage.query.rows import Rows

_TYPES = {"VARCHAR": "string", "BOOLEAN": "boolean", "NULL": "null", "OBJECT": "object", "ARRAY": "array"}


def event_names(cursor: Cursor, lake: Lake, question: NamesQuestion) -> tuple[EventName, ...]:
    """Names of events."""
    rows = Rows(lake, question.selection, {}, sees_sessions=False)
    found = cursor.rows(
        f"WITH {rows.chosen('event, timestamp', also=_has('event', question, rows))}"
        " SELECT event, count(*), epoch_ms(min(timestamp)), epoch_ms(max(timestamp)) FROM chosen"
        f" GROUP BY event ORDER BY count(*) DESC, event LIMIT {question.limit}",
        rows.parameters.values,
    )
    return tuple(EventName(*row) for row in found)


def property_keys(cursor: Cursor, lake: Lake, question: NamesQuestion) -> tuple[PropertyKey, ...]:
    """Keys of properties and the types of their values."""
    rows = Rows(lake, question.selection, {}, sees_sessions=False)
    found = cursor.rows(
        f"""WITH {rows.chosen("properties")},
        keyed AS (SELECT properties, unnest(json_keys(properties)) AS key FROM chosen),
        typed AS (
            SELECT key, json_type(properties, '/' || replace(replace(key, '~', '~0'), '/', '~1')) AS type
            FROM keyed WHERE {_has("key", question, rows)}
        )
        SELECT key, list(DISTINCT type ORDER BY type), count(*) FROM typed
        GROUP BY key ORDER BY count(*) DESC, key LIMIT {question.limit}""",
        rows.parameters.values,
    )
    # Integers and fractions alike are numbers to whoever sent them.
    return tuple(
        PropertyKey(key, tuple(sorted({_TYPES.get(kind, "number") for kind in types})), count)
        for key, types, count in found
    )


def property_values(cursor: Cursor, lake: Lake, question: NamesQuestion, key: str) -> tuple[PropertyValue, ...]:
    """Values of one property."""
    rows = Rows(lake, question.selection, {}, sees_sessions=False)
    found = cursor.rows(
        f"WITH {rows.chosen(f'{property_sql(key, rows.parameters)} AS value')}"
        f" SELECT value, count(*) FROM chosen WHERE value IS NOT NULL AND {_has('value', question, rows)}"
        f" GROUP BY value ORDER BY count(*) DESC, value LIMIT {question.limit}",
        rows.parameters.values,
    )
    return tuple(PropertyValue(*row) for row in found)


def _has(column: str, question: NamesQuestion, rows: Rows) -> str:
    return f"contains(lower({column}), {rows.parameters.bind(question.search.lower())})" if question.search else "true"
