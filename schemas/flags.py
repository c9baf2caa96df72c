"""Feature flags: what is kept of one, and for whom it is on. Pure: the same person always gets the same answer."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec
from msgspec import Struct

from schemas.filters import AllOf, AnyOf, Condition, Filter, Operator, filter_of
from schemas.kept import Body

_DIGITS: Final = 15
_WHOLE: Final = 2**60
# What a variant's hash is of, beside the flag and the person: a rollout that grows moves nobody between variants.
_SALT: Final = "variant"


class Variant(Struct, frozen=True, kw_only=True):
    """One of several things that a flag turns on; weights count against each other."""

    key: str
    weight: float = 1.0
    payload: Any = None


class Rule(Struct, frozen=True, kw_only=True, rename="camel"):
    """Some percent of the people whose properties pass the filters get the flag, with a variant if it names one."""

    filters: Any = None
    rollout: float = 100.0
    variant: str | None = None


class Flag(Body, frozen=True, kw_only=True):
    """A switch by its key: the first rule that takes a person turns it on."""

    kind: ClassVar[str] = "flag"
    prefix: ClassVar[str] = "flag"
    required: ClassVar[tuple[str, ...]] = ("key",)

    key: str
    name: str = ""
    active: bool = True
    variants: tuple[Variant, ...] = ()
    rules: tuple[Rule, ...] = ()

    @property
    def label(self) -> str:
        return self.key

    @property
    def needs_properties(self) -> bool:
        """Whether somebody's id is not enough to tell."""
        return self.active and any(rule.filters for rule in self.rules)


class FlagSecret(Body, frozen=True, kw_only=True):
    """What servers that evaluate flags by themselves read them with; it is found by its hash."""

    kind: ClassVar[str] = "flag_secret"
    prefix: ClassVar[str] = "fsec"

    name: str = "flag secret"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a flag is for a person: `reason` is `rule:0`, `no_match` or `inactive`."""

    enabled: bool
    variant: str | None
    payload: Any
    reason: str


def bucket(flag: str, distinct_id: str, salt: str = "") -> float:
    """Where a person stands in a flag's rollout, from 0 to below 1."""
    digest = hashlib.sha1(f"{flag}.{distinct_id}{salt}".encode("utf-8", "surrogatepass"), usedforsecurity=False)
    return int(digest.hexdigest()[:_DIGITS], 16) / _WHOLE


def evaluate(flag: Flag, distinct_id: str, properties: Mapping[str, Any]) -> Verdict:
    """The flag for a person with these properties."""
    if not flag.active:
        return Verdict(False, None, None, "inactive")
    for place, rule in enumerate(flag.rules):
        is_meant = rule.filters is None or holds(filter_of(rule.filters), properties)
        if is_meant and bucket(flag.key, distinct_id) * 100 < rule.rollout:
            chosen = _variant(flag, rule, distinct_id)
            key, payload = (None, None) if chosen is None else (chosen.key, chosen.payload)
            return Verdict(True, key, payload, f"rule:{place}")
    return Verdict(False, None, None, "no_match")


def holds(wanted: Filter, properties: Mapping[str, Any]) -> bool:
    """Whether properties pass a filter without patterns; what is absent or null is not set."""
    match wanted:
        case AllOf(parts):
            return all(holds(part, properties) for part in parts)
        case AnyOf(parts):
            return any(holds(part, properties) for part in parts)
    found = properties.get(wanted.key, properties.get(wanted.key.removeprefix("properties.")))
    return _compares(wanted, found)


def _compares(wanted: Condition, found: Any) -> bool:
    op, value = wanted.op, wanted.value
    match op:
        case Operator.SET | Operator.NOT_SET:
            return (found is not None) is (op is Operator.SET)
        case Operator.EQ | Operator.NEQ:
            return _is_same(found, value) is (op is Operator.EQ)
        case Operator.IN:
            return isinstance(value, tuple | list) and any(_is_same(found, one) for one in value)
        case Operator.GT | Operator.GTE | Operator.LT | Operator.LTE:
            return _is_ordered(op, found, value)
    text, part = _text(found), str(value)
    if text is None:
        return op is Operator.NOT_CONTAINS
    match op:
        case Operator.CONTAINS | Operator.NOT_CONTAINS:
            return (part in text) is (op is Operator.CONTAINS)
        case Operator.STARTS_WITH:
            return text.startswith(part)
        case Operator.ENDS_WITH:
            return text.endswith(part)
    return False


def _is_ordered(op: Operator, found: Any, value: Any) -> bool:
    if not (_is_number(found) and _is_number(value)) and not (isinstance(found, str) and isinstance(value, str)):
        return False
    if op in (Operator.GT, Operator.GTE):
        return bool(found > value) or (op is Operator.GTE and bool(found == value))
    return bool(found < value) or (op is Operator.LTE and bool(found == value))


def _is_same(found: Any, value: Any) -> bool:
    if _is_number(found) and _is_number(value):
        return bool(found == value)
    return found is not None and _text(found) == _text(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


def _variant(flag: Flag, rule: Rule, distinct_id: str) -> Variant | None:
    if rule.variant is not None:
        return next((variant for variant in flag.variants if variant.key == rule.variant), None)
    left = bucket(flag.key, distinct_id, _SALT) * sum(variant.weight for variant in flag.variants)
    weighted = [variant for variant in flag.variants if variant.weight > 0]
    for variant in weighted:
        if left < variant.weight:
            return variant
        left -= variant.weight
    return weighted[-1] if weighted else None  # rounding took what was left
