"""Funnels over a selection: from every first step the earliest next ones, then the best run of each person.

With a fixed first step, taking every following step as early as possible reaches as far as any choice
within the window; so one ASOF join a step, over the events that are steps, is exact.
"""

from collections.abc import Mapping, Sequence

from schemas.funnels import FunnelAnswer, FunnelPath, FunnelPoint, FunnelQuestion, FunnelStep
from storage.lake.sessions import IN_TIME
from storage.query.buckets import bucketed
from storage.query.engine import Cursor, Row
from storage.query.fields import field_sql
from storage.query.filters import filter_sql
from storage.query.lake import Lake
from storage.query.rows import Rows

_PARTS = ("whole", "path", "value", "bucket")
_MOST_PATHS = 20
_MOST_VALUES = 100


def answer_funnel(cursor: Cursor, lake: Lake, question: FunnelQuestion, aliases: Mapping[str, str]) -> FunnelAnswer:
    """Counts fall from step to step, since each needs all earlier ones."""
    rows = Rows(lake, question.selection, aliases, sees_sessions=question.is_by_session)
    measures = _measures(question)
    # One statement, since the runs are what costs.
    parts = [f"SELECT 'whole' AS part, {measures} FROM best", _paths_sql(rows, question)]
    if question.dimension is not None:
        parts.append(
            f"(SELECT 'value' AS part, value, {measures} FROM best WHERE value IS NOT NULL GROUP BY value"
            f" ORDER BY count(*) DESC, value LIMIT {_MOST_VALUES})"
        )
    if question.buckets:
        placed = bucketed("best", question.buckets, rows.parameters, "t1")
        parts.append(f"SELECT 'bucket' AS part, bucket, {measures} FROM {placed} GROUP BY bucket")
    head = "SELECT NULL::VARCHAR AS part, NULL::VARCHAR AS value, NULL::INTEGER AS bucket, NULL::INTEGER[] AS path"
    found = cursor.rows(
        f"WITH {_best(rows, question)} {' UNION ALL BY NAME '.join([f'{head} WHERE false', *parts])}",
        rows.parameters.values,
    )
    whole, paths, values, points = ([row[1:] for row in found if row[0] == part] for part in _PARTS)
    return FunnelAnswer(
        _steps(question, whole[0][3:]),
        _series(question, {row[1]: row[3:] for row in points}),
        _paths(question, paths),
        tuple((row[0], _steps(question, row[3:])) for row in sorted(values, key=lambda row: (-row[3], row[0]))),
        whole[0][-1],
        rows.version,
    )


def _best(rows: Rows, question: FunnelQuestion) -> str:
    """CTEs: `ordered`, the events that are steps; `best`, one run for each unit, `t1`, `t2`… null where it ended."""
    bind = rows.parameters.bind
    numbers = range(1, len(question.steps) + 1)
    flags = {
        f"s{number}": f"({filter_sql(step.filters, rows.parameters)})"
        for number, step in zip(numbers, question.steps, strict=True)
    }
    any_step = " OR ".join(flags)
    flags["value"] = field_sql(question.dimension, rows.parameters) if question.dimension else "NULL::VARCHAR"
    if question.is_by_session:
        begun = "SELECT track, visit FROM sessions"
        base = (
            f"{rows.sessions(flags)}, stepped AS (SELECT *, track || '/' || visit AS unit"
            f" FROM numbered SEMI JOIN ({begun}) USING (track, visit) WHERE is_chosen)"
        )
    else:
        named = ", ".join(f"{expression} AS {name}" for name, expression in flags.items())
        base = f"{rows.chosen(f'{IN_TIME}, person AS unit, {named}')}, stepped AS (FROM chosen)"
    window = bind(question.window)
    ctes = [
        base,
        f"""ordered AS (SELECT *, row_number() OVER (PARTITION BY unit ORDER BY {IN_TIME}) AS n
            FROM stepped WHERE unit <> '' AND ({any_step}))""",
        "run1 AS (SELECT unit, value, n AS n1, timestamp AS t1 FROM ordered WHERE s1)",
    ]
    for number in numbers[1:]:
        before = number - 1
        in_time = f"step.timestamp - run.t1 <= {window}"
        ctes.append(
            f"run{number} AS (SELECT run.*, CASE WHEN {in_time} THEN step.n END AS n{number},"
            f" CASE WHEN {in_time} THEN step.timestamp END AS t{number} FROM run{before} AS run"
            f" ASOF LEFT JOIN (SELECT unit, n, timestamp FROM ordered WHERE s{number}) AS step"
            f" ON run.unit = step.unit AND run.n{before} < step.n)"
        )
    depth = " + ".join(f"(t{number} IS NOT NULL)::INTEGER" for number in numbers)
    ctes.append(
        f"best AS (SELECT * FROM run{numbers[-1]}"
        f" QUALIFY row_number() OVER (PARTITION BY unit ORDER BY {depth} DESC, n1) = 1)"
    )
    return ", ".join(ctes)


def _measures(question: FunnelQuestion) -> str:
    """How many came; of each later step how many and its median and mean seconds; the mean of the whole."""
    measures = ["count(*)"]
    for number in range(2, len(question.steps) + 1):
        taken = f"epoch_ms(t{number}) - epoch_ms(t{number - 1})"
        measures += [f"count(t{number})", f"median({taken}) / 1000", f"avg({taken}) / 1000"]
    measures.append(f"avg(epoch_ms(t{len(question.steps)}) - epoch_ms(t1)) / 1000")
    return ", ".join(f"{measure} AS m{place}" for place, measure in enumerate(measures))


def _steps(question: FunnelQuestion, measured: Sequence[float | None]) -> tuple[FunnelStep, ...]:
    names = [step.name for step in question.steps]
    first = previous = int(measured[0] or 0)
    found = [FunnelStep(names[0], first, 100.0 if first else 0.0, 100.0 if first else 0.0, 0, None, None)]
    for place, name in enumerate(names[1:]):
        count, median, mean = measured[1 + 3 * place : 4 + 3 * place]
        number = int(count or 0)
        found.append(
            FunnelStep(name, number, _rate(number, previous), _rate(number, first), previous - number, median, mean)
        )
        previous = number
    return tuple(found)


def _rate(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0


def _series(question: FunnelQuestion, points: Mapping[int, Sequence[int]]) -> tuple[FunnelPoint, ...]:
    """Of each bucket, who took the first step in it and who of them the last."""
    found = ((bucket.label, points.get(place)) for place, bucket in enumerate(question.buckets))
    return tuple(
        FunnelPoint(label, 0, 0) if measured is None else FunnelPoint(label, measured[0], measured[-4])
        for label, measured in found
    )


def _paths_sql(rows: Rows, question: FunnelQuestion) -> str:
    numbers = ", ".join(f"CASE WHEN s{number} THEN {number} END" for number in range(1, len(question.steps) + 1))
    return f"""(SELECT 'path' AS part, path, count(*) AS m0, avg(seconds) AS m2 FROM (
            SELECT list(step ORDER BY n, step) AS path, (max(millis) - min(millis)) / 1000 AS seconds FROM (
                SELECT unit, step, min(n) AS n, epoch_ms(min(timestamp)) AS millis FROM (
                    SELECT unit, n, timestamp, unnest([{numbers}]) AS step
                    FROM ordered JOIN (SELECT unit, n1, t1 FROM best) USING (unit)
                    WHERE n >= n1 AND timestamp - t1 <= {rows.parameters.bind(question.window)}
                ) WHERE step IS NOT NULL GROUP BY ALL
            ) GROUP BY unit
        ) GROUP BY path ORDER BY count(*) DESC, path LIMIT {_MOST_PATHS})"""


def _paths(question: FunnelQuestion, found: Sequence[Row]) -> tuple[FunnelPath, ...]:
    names = [step.name for step in question.steps]
    return tuple(
        FunnelPath(tuple(names[step - 1] for step in row[2]), row[3], round(row[5], 3))
        for row in sorted(found, key=lambda row: (-row[3], row[2]))
    )
