"""Rows put into the buckets of a question: their bounds come from the time zone's rules, not from SQL."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from schemas.instants import to_millis
from schemas.windows import Bucket
from storage.query.engine import Cursor, Row
from storage.query.parameters import Parameters


class BucketIndex:
    """Which bucket an instant lies in."""

    def __init__(self, buckets: Sequence[Bucket]) -> None:
        self._starts = [to_millis(bucket.start) for bucket in buckets]

    def of(self, millis: int) -> int:
        """The bucket of unix milliseconds that lie inside the range."""
        return bisect_right(self._starts, millis) - 1


def bucket_rows(
    cursor: Cursor, buckets: Sequence[Bucket], measure: str, select: str, bound: Sequence[object]
) -> list[int]:
    """A measure of each bucket over rows with a `timestamp`, all of them inside the range."""
    return spread(buckets, per_bucket(cursor, buckets, measure, select, bound))


def per_bucket(
    cursor: Cursor, buckets: Sequence[Bucket], measure: str, select: str, bound: Sequence[object]
) -> list[Row]:
    """(start of the bucket in unix ms, measure) of the buckets that have rows."""
    return cursor.rows(
        f"SELECT epoch_ms(start), {measure} FROM ({select}) AS found"
        " ASOF JOIN (SELECT unnest(?::TIMESTAMPTZ[]) AS start) AS bucket ON found.timestamp >= bucket.start"
        " GROUP BY start",
        [*bound, [bucket.start for bucket in buckets]],
    )


def spread(buckets: Sequence[Bucket], rows: Iterable[Row]) -> list[int]:
    """Sums of (unix ms, value) by bucket, zero where there is none."""
    index = BucketIndex(buckets)
    values = [0] * len(buckets)
    for millis, value in rows:
        values[index.of(millis)] += value
    return values


def measured(
    cursor: Cursor,
    ctes: str,
    source: str,
    measures: Sequence[str],
    buckets: Sequence[Bucket],
    parameters: Parameters,
) -> dict[int | None, Row]:
    """Measures over rows with a `timestamp`: of all of them (None) and of each bucket that has some."""
    if not buckets:
        found = cursor.rows(f"WITH {ctes} SELECT {', '.join(measures)} FROM {source}", parameters.values)
        return {None: found[0]}
    starts = parameters.bind([bucket.start for bucket in buckets])
    found = cursor.rows(
        f"WITH {ctes} SELECT epoch_ms(start), {', '.join(measures)} FROM {source}"
        f" ASOF JOIN (SELECT unnest({starts}::TIMESTAMPTZ[]) AS start) AS bucket ON {source}.timestamp >= bucket.start"
        " GROUP BY GROUPING SETS ((start), ())",
        parameters.values,
    )
    index = BucketIndex(buckets)
    return {None if row[0] is None else index.of(row[0]): row[1:] for row in found}
