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


def bucketed(source: str, buckets: Sequence[Bucket], parameters: Parameters) -> str:
    """A FROM item: the rows of `source` with `start`, that of the bucket their `timestamp` lies in."""
    starts = parameters.bind([bucket.start for bucket in buckets])
    return (
        f"{source} ASOF JOIN (SELECT unnest({starts}::TIMESTAMPTZ[]) AS start) AS bucket"
        f" ON {source}.timestamp >= bucket.start"
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
        f"WITH {ctes} SELECT epoch_ms(start), {listed} FROM {bucketed(source, buckets, parameters)}"
        " GROUP BY GROUPING SETS ((start), ())",
        parameters.values,
    )
    index = BucketIndex(buckets)
    first = to_millis(buckets[0].start)
    return {None if row[0] is None else index.of(max(row[0], first)): row[1:] for row in found}


def spread(buckets: Sequence[Bucket], rows: Iterable[Row]) -> list[int]:
    """Sums of (unix ms, value) by bucket, zero where there is none."""
    index = BucketIndex(buckets)
    values = [0] * len(buckets)
    for millis, value in rows:
        values[index.of(millis)] += value
    return values
