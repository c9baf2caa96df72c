"""One number over time: counts and people, from rollups and events as planned."""

from collections.abc import Sequence

from schemas.answers import EXACT, Accuracy, MetricAnswer, Point
from schemas.questions import MetricKind, MetricQuestion
from schemas.windows import TimeRange
from storage.lake.snapshot import relation
from storage.query.buckets import BucketIndex, bucket_rows, per_bucket, spread
from storage.query.engine import Cursor, Row
from storage.query.lake import Lake, within
from storage.query.planner import Plan
from storage.query.sessions import count_sessions
from storage.sketches import STORED_LG_K, People, PeopleUnion, standard_error

# The rule of processors.enrich.names, over names as they are stored.
_PAGEVIEW = "lower(regexp_replace(event, '[$_ -]', '', 'g')) IN ('pageview', 'pageviewed')"


def answer_metric(cursor: Cursor, lake: Lake, question: MetricQuestion, plan: Plan) -> MetricAnswer:
    """The series of a metric as planned; its version is that of the events table."""
    accuracy = EXACT
    if question.metric is MetricKind.SESSIONS:
        values, snapshot = count_sessions(cursor, lake, question)
        return _answer(question, values, EXACT, snapshot.version, plan)
    # Rollups first: events commit before them, so the edges are never behind the middle.
    stored = _rollups(cursor, lake, question, plan.rollups) if plan.rollups is not None else []
    if question.metric is not MetricKind.UNIQUE_USERS:
        values = spread(question.buckets, stored)
        for span in plan.events:
            values = _sum(values, _counts(cursor, lake, question, span))
    elif plan.rollups is None:
        values = _people(cursor, lake, question)
    else:
        values = _merged_people(cursor, lake, question, stored, plan.events)
        accuracy = Accuracy(standard_error(STORED_LG_K))
    return _answer(question, values, accuracy, lake.reader("events").version(lake.max_age_seconds), plan)


def _answer(
    question: MetricQuestion, values: Sequence[int], accuracy: Accuracy, version: int, plan: Plan
) -> MetricAnswer:
    points = tuple(Point(bucket.label, value) for bucket, value in zip(question.buckets, values, strict=True))
    return MetricAnswer(points, accuracy, version, plan.name)


def _rollups(cursor: Cursor, lake: Lake, question: MetricQuestion, span: TimeRange) -> list[Row]:
    """(hour in unix ms, count or sketch) of every partial in the range."""
    source, files = relation(lake.snapshot("rollups", within(question.project, span, "hour")))
    where = "project_id = ? AND date >= ? AND date <= ? AND hour >= ? AND hour < ? AND dimension = ''"
    bound = [*files, question.project, span.start.date(), span.end.date(), span.start, span.end]
    if question.event is not None:
        where, bound = f"{where} AND event = ?", [*bound, question.event]
    if question.metric is MetricKind.UNIQUE_USERS:
        return cursor.rows(f"SELECT epoch_ms(hour), people FROM {source} WHERE {where}", bound)
    if question.metric is MetricKind.PAGEVIEWS:
        where += f" AND {_PAGEVIEW}"
    return cursor.rows(f"SELECT epoch_ms(hour), sum(count)::BIGINT FROM {source} WHERE {where} GROUP BY hour", bound)


def _counts(cursor: Cursor, lake: Lake, question: MetricQuestion, span: TimeRange) -> list[int]:
    select, bound = _events(lake, question, span)
    if question.metric is MetricKind.PAGEVIEWS:
        select += " AND is_pageview"
    return bucket_rows(cursor, question.buckets, "count(*)", select, bound)


def _people(cursor: Cursor, lake: Lake, question: MetricQuestion) -> list[int]:
    select, bound = _events(lake, question, question.span)
    select += " AND distinct_id <> ''"
    return bucket_rows(cursor, question.buckets, "count(DISTINCT distinct_id)", select, bound)


def _merged_people(
    cursor: Cursor, lake: Lake, question: MetricQuestion, stored: Sequence[Row], edges: Sequence[TimeRange]
) -> list[int]:
    index = BucketIndex(question.buckets)
    unions: dict[int, PeopleUnion] = {}
    for hour, sketch in stored:
        unions.setdefault(index.of(hour), PeopleUnion()).merge(sketch)
    for span in edges:
        select, bound = _events(lake, question, span)
        select += " AND distinct_id <> ''"
        for start, ids in per_bucket(cursor, question.buckets, "list(DISTINCT distinct_id)", select, bound):
            people = People()
            people.add(ids)
            unions.setdefault(index.of(start), PeopleUnion()).merge(people.to_bytes())
    return [unions[at].estimate if at in unions else 0 for at in range(len(question.buckets))]


def _events(lake: Lake, question: MetricQuestion, span: TimeRange) -> tuple[str, list[object]]:
    source, files = relation(lake.snapshot("events", within(question.project, span)))
    select = (
        f"SELECT timestamp, distinct_id FROM {source}"
        " WHERE project_id = ? AND date >= ? AND date <= ? AND timestamp >= ? AND timestamp < ? AND NOT is_system"
    )
    if not question.includes_bots:
        select += " AND NOT is_bot"
    bound = [*files, question.project, span.start.date(), span.end.date(), span.start, span.end]
    if question.event is not None:
        select, bound = f"{select} AND event = ?", [*bound, question.event]
    return select, bound


def _sum(left: Sequence[int], right: Sequence[int]) -> list[int]:
    return [a + b for a, b in zip(left, right, strict=True)]
