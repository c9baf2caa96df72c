"""Sketches of distinct people: a mergeable estimate with a stated error. The only user of datasketches.

HyperLogLog (Flajolet et al. 2007) as HLL_4 of Apache DataSketches, its default hash seed for ever.
One standard error is 1.04 / sqrt(2^lg_k): 0.8 % at 14 and 1.6 % at 12. Small sets are exact.
"""

import math
from collections import deque
from collections.abc import Iterable
from typing import Self

from datasketches import hll_sketch, hll_union, tgt_hll_type

STORED_LG_K = 14
LIVE_LG_K = 12


def standard_error(lg_k: int) -> float:
    """The relative standard error (1 sigma) of an estimate."""
    return 1.04 / math.sqrt(2**lg_k)


class People:
    """A set of distinct ids that remembers how many, not which."""

    __slots__ = ("_sketch",)

    def __init__(self, lg_k: int = STORED_LG_K) -> None:
        self._sketch = hll_sketch(lg_k, tgt_hll_type.HLL_4)

    def add(self, ids: Iterable[str]) -> None:
        """Add ids; empty ones stand for nobody."""
        deque(map(self._sketch.update, ids), maxlen=0)  # which passes over empty ones

    def to_bytes(self) -> bytes:
        """The compact serialised form, readable by any DataSketches library."""
        data: bytes = self._sketch.serialize_compact()
        return data

    @property
    def estimate(self) -> int:
        return round(float(self._sketch.get_estimate()))


class PeopleUnion:
    """The union of many sketches: idempotent, so order and repetition do not matter."""

    __slots__ = ("_union",)

    def __init__(self, lg_k: int = STORED_LG_K) -> None:
        self._union = hll_union(lg_k)

    def merge(self, data: bytes) -> Self:
        """Add one serialised sketch."""
        self._union.update(hll_sketch.deserialize(data))
        return self

    @property
    def estimate(self) -> int:
        return round(float(self._union.get_estimate()))

    def to_bytes(self) -> bytes:
        data: bytes = self._union.get_result(tgt_hll_type.HLL_4).serialize_compact()
        return data


def people_by(groups: Iterable[int], ids: Iterable[str], count: int, lg_k: int) -> list[People]:
    """One sketch for each of `count` groups: `groups` names the group of every id."""
    sketches = [hll_sketch(lg_k, tgt_hll_type.HLL_4) for _ in range(count)]
    updates = [sketch.update for sketch in sketches]
    for group, distinct_id in zip(groups, ids, strict=True):
        if distinct_id:
            updates[group](distinct_id)
    return [_wrap(sketch) for sketch in sketches]


def _wrap(sketch: hll_sketch) -> People:
    people = People.__new__(People)
    people._sketch = sketch
    return people
