"""One number of a project over a whole range, from rollups where they can answer."""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal

from api.analytics.answering import Analytics
from schemas.instants import FIRST, LAST
from schemas.selection import Selection
from schemas.series import Measure, Metric, SeriesQuestion
from schemas.windows import Bucket, TimeRange

ALL_TIME: Final = TimeRange(FIRST, LAST)


async def total(
    analytics: Analytics, project: int, metric: Literal[Metric.EVENTS_COUNT, Metric.PAGEVIEWS], span: TimeRange
) -> int:
    """Events or pageviews of a project; raises Problem 503."""
    bucket = Bucket("", span.start, span.end)
    question = SeriesQuestion(Selection(project, span), Measure(metric), (bucket,))
    [series] = (await analytics.ask(question)).answer.series
    return int(series.data[0] or 0)


async def together(
    analytics: Analytics,
    projects: Iterable[int],
    metric: Literal[Metric.EVENTS_COUNT, Metric.PAGEVIEWS],
    span: TimeRange,
) -> int:
    """The sum over several projects; raises Problem 503."""
    return sum(await asyncio.gather(*(total(analytics, project, metric, span) for project in projects)))


def month_of(at: datetime) -> TimeRange:
    """The calendar month an instant is in, in UTC."""
    start = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return TimeRange(start, following)
