"""Filters as SQL conditions over the events table, every value bound."""

import re

import pyarrow as pa
import pyarrow.compute as pc

from schemas.filters import AllOf, AnyOf, Condition, Filter, Operator, Scalar
from schemas.questions import InvalidQuestion
from storage.query.fields import field_sql
from storage.query.parameters import Parameters

_DIGITS = re.compile(r"[+-]?(\d{1,300}(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?")
_ORDER = {Operator.GT: ">", Operator.GTE: ">=", Operator.LT: "<", Operator.LTE: "<="}
_TEXT = {
    Operator.CONTAINS: "contains",
    Operator.STARTS_WITH: "starts_with",
    Operator.ENDS_WITH: "ends_with",
    Operator.MATCHES: "regexp_matches",
}


def filter_sql(wanted: Filter, parameters: Parameters) -> str:
    """A condition that is true or false for every row, never NULL."""
    match wanted:
        case AllOf(parts):
            return " AND ".join(f"({filter_sql(part, parameters)})" for part in parts) or "true"
        case AnyOf(parts):
            return " OR ".join(f"({filter_sql(part, parameters)})" for part in parts) or "false"
        case Condition():
            return f"coalesce({_condition(wanted, parameters)}, false)"


def refuse_bad_pattern(pattern: str) -> None:
    """Raises InvalidQuestion where RE2 does not take a pattern; Arrow has the same library as DuckDB."""
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        reason = str(error).removeprefix("Invalid regular expression: ")
        raise InvalidQuestion(f"Invalid parameter: filters, op matches: {reason[:200]}") from error


def _condition(wanted: Condition, parameters: Parameters) -> str:
    op, value = wanted.op, wanted.value
    match op:
        case Operator.SET:
            return f"{field_sql(wanted.key, parameters)} IS NOT NULL"
        case Operator.NOT_SET:
            return f"{field_sql(wanted.key, parameters)} IS NULL"
        case Operator.IN:
            assert isinstance(value, tuple)
            return " OR ".join(f"({_equals(wanted.key, item, parameters)})" for item in value) or "false"
        case Operator.NOT_CONTAINS:
            return f"NOT {filter_sql(Condition(wanted.key, Operator.CONTAINS, value), parameters)}"
    assert value is not None
    assert not isinstance(value, tuple)
    if op is Operator.EQ:
        return _equals(wanted.key, value, parameters)
    if op is Operator.NEQ:  # what is not there is not equal either
        return f"NOT coalesce({_equals(wanted.key, value, parameters)}, false)"
    if op is Operator.MATCHES:
        refuse_bad_pattern(str(value))
    if op in _TEXT:
        return f"{_TEXT[op]}({field_sql(wanted.key, parameters)}, {parameters.bind(value)})"
    return _compared(wanted.key, _ORDER[op], value, parameters)


def _equals(key: str, value: Scalar, parameters: Parameters) -> str:
    return _compared(key, "=", value, parameters)


def _compared(key: str, sign: str, value: Scalar, parameters: Parameters) -> str:
    """Numbers compare as numbers, also where the event holds them as text; everything else as text.

    So do digits in a text that is asked for, but where it is to be equal: then they are that text.
    """
    if isinstance(value, str) and sign != "=":
        value = _number(value)
    field = field_sql(key, parameters)
    if isinstance(value, bool):
        return f"{field} {sign} {parameters.bind('true' if value else 'false')}"
    if isinstance(value, str):
        return f"{field} {sign} {parameters.bind(value)}"
    try:
        return f"TRY_CAST({field} AS DOUBLE) {sign} {parameters.bind(float(value))}"
    except OverflowError as error:
        raise InvalidQuestion("Invalid parameter: filters, a number is too large") from error


def _number(text: str) -> Scalar:
    """The number that a text is, else the text."""
    return float(text) if _DIGITS.fullmatch(text) else text
