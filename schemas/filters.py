"""Which events a question is about: conditions on fields and properties, joined by and/or."""

from enum import StrEnum
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from schemas.questions import InvalidQuestion

# Deeper or longer ones are written by nobody, and each condition costs a pass over the rows.
MAX_CONDITIONS = 100
MAX_DEPTH = 8
_LONGEST_KEY = 256
_INVALID = "Invalid parameter: filters"

Scalar: TypeAlias = str | int | float | bool


class Operator(StrEnum):
    """How a condition compares."""

    EQ = "eq"
    NEQ = "neq"
    IN = "in"
    CONTAINS = "contains"
    NOT_CONTAINS = "not_contains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    MATCHES = "matches"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    SET = "set"
    NOT_SET = "not_set"


_WITHOUT_VALUE = frozenset({Operator.SET, Operator.NOT_SET})
_OF_TEXT = frozenset(
    {Operator.CONTAINS, Operator.NOT_CONTAINS, Operator.STARTS_WITH, Operator.ENDS_WITH, Operator.MATCHES}
)


class Condition(Struct, frozen=True):
    """One comparison. `key` is a field of the event or, with or without `properties.`, a property."""

    key: str
    op: Operator
    value: Scalar | tuple[Scalar, ...] | None = None


class AllOf(Struct, frozen=True):
    """Every part holds; no parts hold for everything."""

    parts: "tuple[Filter, ...]" = ()


class AnyOf(Struct, frozen=True):
    """At least one part holds."""

    parts: "tuple[Filter, ...]" = ()


Filter: TypeAlias = Condition | AllOf | AnyOf

EVERYTHING = AllOf()


def parse_filters(text: str | bytes | None) -> Filter:
    """A JSON array of `{key, op, value}`, `{"and": []}` and `{"or": []}`, all of which must hold.

    Raises InvalidQuestion.
    """
    if not text:
        return EVERYTHING
    try:
        return filter_of(msgspec.json.decode(text))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidQuestion(_INVALID) from error


def filter_of(value: Any) -> Filter:
    """The filter that decoded JSON stands for; raises InvalidQuestion."""
    found = _parse(value, MAX_DEPTH)
    if _count(found) > MAX_CONDITIONS:
        raise InvalidQuestion(f"{_INVALID}, at most {MAX_CONDITIONS} conditions")
    return found


def to_json(wanted: Filter) -> Any:
    """What `filter_of` reads, for keeping it."""
    match wanted:
        case Condition(key, op, value):
            return {"key": key, "op": op.value} | ({} if value is None else {"value": value})
        case AllOf(parts):
            return {"and": [to_json(part) for part in parts]}
        case AnyOf(parts):
            return {"or": [to_json(part) for part in parts]}


def both(left: Filter, right: Filter) -> Filter:
    """Where both hold."""
    parts = tuple(part for part in (left, right) if part != EVERYTHING)
    return parts[0] if len(parts) == 1 else AllOf(parts)


def equals(key: str, value: Scalar) -> Condition:
    """The most common condition."""
    return Condition(key, Operator.EQ, value)


def _parse(value: Any, depth: int) -> Filter:
    if depth == 0:
        raise InvalidQuestion(f"{_INVALID}, nested too deep")
    match value:
        case list():
            return AllOf(tuple(_parse(part, depth - 1) for part in value))
        case {"and": list(parts), **rest} if not rest:
            return AllOf(tuple(_parse(part, depth - 1) for part in parts))
        case {"or": list(parts), **rest} if not rest:
            return AnyOf(tuple(_parse(part, depth - 1) for part in parts))
        case {"key": str(key), "op": str(op), **rest} if rest.keys() <= {"value"} and 0 < len(key) <= _LONGEST_KEY:
            return Condition(key, _operator(op), _value(_operator(op), rest.get("value")))
    raise InvalidQuestion(_INVALID)


def _operator(text: str) -> Operator:
    try:
        return Operator(text)
    except ValueError as error:
        raise InvalidQuestion(f"{_INVALID}, unknown op {text!r}") from error


def _value(op: Operator, value: Any) -> Scalar | tuple[Scalar, ...] | None:
    if op in _WITHOUT_VALUE:
        return None
    if op is Operator.IN:
        if not isinstance(value, list) or not all(isinstance(item, str | int | float) for item in value):
            raise InvalidQuestion(f"{_INVALID}, op in needs a list of values")
        return tuple(value)
    if not isinstance(value, str | int | float) or (op in _OF_TEXT and not isinstance(value, str)):
        raise InvalidQuestion(f"{_INVALID}, op {op.value} needs a value")
    return value


def _count(wanted: Filter) -> int:
    return 1 if isinstance(wanted, Condition) else sum(map(_count, wanted.parts))
