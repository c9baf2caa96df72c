"""Rows put into the buckets of a question: their bounds come from the time zone's rules, not from SQL."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import gcd

from schemas.instants import to_millis
from schemas.windows import Bucket
from storage.query.engine import Cursor, Row
from storage.query.parameters import Parameters

# Ten years by the hour; a zone whose clock was once some seconds off needs more, for a long range.
_MOST_SLOTS = 100_000


class BucketIndex:
    """Which bucket an instant lies in."""

    def __init__(self, buckets: Sequence[Bucket]) -> None:
        self._starts = [to_millis(bucket.start) for bucket in buckets]

    def of(self, millis: int) -> int:
        """The bucket of unix milliseconds that lie inside the range."""
        return bisect_right(self._starts, millis) - 1


@dataclass(frozen=True, slots=True)
class Slots:
    """Equal parts of time, none of which lies in two buckets."""

    origin: int  # unix ms
    length: int  # ms
    buckets: tuple[int, ...]  # of each slot


def slots(buckets: Sequence[Bucket]) -> Slots | None:
    """As long as they can be; None where they would be too many."""
    starts, end = [to_millis(bucket.start) for bucket in buckets], to_millis(buckets[-1].end)
    # The first bucket begins wherever the range does, so bounds are told from the second.
    bounds = starts[1:] or [end]
    length = gcd(*(bound - bounds[0] for bound in bounds)) or max(1, bounds[0] - starts[0])
    origin = bounds[0] - -(-(bounds[0] - starts[0]) // length) * length
    number = -(-(end - origin) // length)
    if number > _MOST_SLOTS:
        return None
    at = range(origin, origin + number * length, length)
    return Slots(origin, length, tuple(max(0, bisect_right(starts, instant) - 1) for instant in at))


def bucketed(source: str, buckets: Sequence[Bucket], parameters: Parameters, instant: str = "timestamp") -> str:
    """A FROM item: the rows of `source` with `bucket`, the number of the one that their instant lies in.

    All must lie inside the range. Slots are joined by hash, where bounds would need all rows to be sorted.
    """
    millis = f"epoch_ms({source}.{instant})"
    found = slots(buckets)
    if found is None:
        starts = parameters.bind([to_millis(bucket.start) for bucket in buckets])
        return (
            f"{source} ASOF JOIN (SELECT unnest({starts}::BIGINT[]) AS start,"
            f" generate_subscripts({starts}::BIGINT[], 1) - 1 AS bucket) AS bound ON {millis} >= bound.start"
        )
    numbers = parameters.bind(list(found.buckets))
    return (
        f"{source} JOIN (SELECT unnest({numbers}::INTEGER[]) AS bucket,"
        f" generate_subscripts({numbers}::INTEGER[], 1) - 1 AS slot) AS slots"
        f" ON ({millis} - {found.origin}) // {found.length} = slots.slot"
    )


def measured(
    cursor: Cursor,
    ctes: str,
    source: str,
    measures: Sequence[str],
    buckets: Sequence[Bucket],
    parameters: Parameters,
) -> dict[int | None, Row]:
    """Measures over rows with a `timestamp`: of all of them (None) and of each bucket that has some."""
    listed = ", ".join(measures)
    if not buckets:
        return {None: cursor.rows(f"WITH {ctes} SELECT {listed} FROM {source}", parameters.values)[0]}
    found = cursor.rows(
        f"WITH {ctes} SELECT bucket, {listed} FROM {bucketed(source, buckets, parameters)}"
        " GROUP BY GROUPING SETS ((bucket), ())",
        parameters.values,
    )
    return {row[0]: row[1:] for row in found}


def spread(buckets: Sequence[Bucket], rows: Iterable[Row]) -> list[int]:
    """Sums of (unix ms, value) by bucket, zero where there is none."""
    index = BucketIndex(buckets)
    values = [0] * len(buckets)
    for millis, value in rows:
        values[index.of(millis)] += value
    return values
