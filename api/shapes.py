"""JSON Schemas of bodies, for the document: of an example, and of a struct."""

from collections.abc import Collection
from functools import reduce
from typing import Any, Final

import msgspec

Schema = dict[str, Any]
# Where an example stands as text until the document is complete: the framework leaves nulls out of what is none.
EXAMPLE: Final = "x-example"
# What `meta` of a page says.
PAGE: Final[Schema] = {"total": 1284, "limit": 100, "hasMore": True, "nextCursor": "MTAw"}


def shape(example: Any, nullable: Collection[str] = ()) -> Schema:
    """The schema that an example follows: all of its fields, each of its type; `nullable` names fields, at any depth.

    Of a list every item is an example: what one of them lacks is optional.
    """
    match example:
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer"}
        case float():
            return {"type": "number"}
        case str():
            return {"type": "string"}
        case dict():
            fields = {name: shape(value, nullable) for name, value in example.items()}
            for name in fields.keys() & set(nullable):
                fields[name] = or_null(fields[name] or {"type": "string"})  # a null in an example stands for a text
            return {"type": "object", "properties": fields, "required": list(fields)}
        case list() | tuple():
            items = [shape(item, nullable) for item in example]
            return {"type": "array", "items": reduce(_either, items) if items else {}}
        case _:
            return {}


def structure(kind: type[msgspec.Struct], *, without: Collection[str] = (), is_partial: bool = False) -> Schema:
    """The schema of a struct as it is sent; of a partial one no field must be there."""
    [found], parts = msgspec.json.schema_components([kind], ref_template="{name}")
    whole: Schema = _inlined(found, parts)
    fields = {name: field for name, field in whole["properties"].items() if name not in without}
    required = [] if is_partial else [name for name in whole.get("required", ()) if name in fields]
    return {"type": "object", "properties": fields} | ({"required": required} if required else {})


def or_null(schema: Schema) -> Schema:
    """The same, or null."""
    kind = schema.get("type")
    return schema | {"type": [kind, "null"]} if isinstance(kind, str) else schema


def joined(one: Schema, other: Schema) -> Schema:
    """An object with the fields of both."""
    return one | {
        "properties": one["properties"] | other["properties"],
        "required": [*one.get("required", ()), *other.get("required", ())],
    }


def content(example: Any, schema: Schema | None = None, *, nullable: Collection[str] = ()) -> dict[str, Any]:
    """A body in JSON, as the document has it."""
    text = msgspec.json.encode(example).decode()
    said = {"schema": shape(example, nullable) if schema is None else schema, EXAMPLE: text}
    return {"content": {"application/json": said}}


def _either(one: Schema, other: Schema) -> Schema:
    """What both follow."""
    if one == other:
        return one
    if one.get("type") == other.get("type") == "object":
        mine, theirs = one["properties"], other["properties"]
        both = {name: _either(mine[name], theirs[name]) for name in mine.keys() & theirs.keys()}
        required = [name for name in one["required"] if name in other["required"]]
        return {"type": "object", "properties": mine | theirs | both, "required": required}
    return {"anyOf": [*one.get("anyOf", [one]), *other.get("anyOf", [other])]}


def _inlined(part: Any, parts: dict[str, Any]) -> Any:
    """Without references: the kinds that are kept hold no kind of their own."""
    match part:
        case {"$ref": name}:
            return _inlined(parts[name], parts)
        case dict():
            return {key: _inlined(value, parts) for key, value in part.items()}
        case list():
            return [_inlined(item, parts) for item in part]
        case _:
            return part
