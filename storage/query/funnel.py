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

_MOST_PATHS = 20
_MOST_VALUES = 100


def answer_funnel(cursor: Cursor, lake: Lake, question: FunnelQuestion, aliases: Mapping[str, str]) -> FunnelAnswer:
    """Counts fall from step to step, since each needs all earlier ones."""
    overall = _counted(cursor, lake, question, aliases, "NULL")
    steps = _steps(question, overall[0]) if overall else _steps(question, None)
    by_value: tuple[tuple[str, tuple[FunnelStep, ...]], ...] = ()
    if question.dimension is not None:
        found = _counted(cursor, lake, question, aliases, "value")
        by_value = tuple((row[0], _steps(question, row)) for row in found if row[0] is not None)[:_MOST_VALUES]
    paths, version = _paths(cursor, lake, question, aliases)
    mean = overall[0][-1] if overall else None
    return FunnelAnswer(steps, _series(cursor, lake, question, aliases), paths, by_value, mean, version)


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


def _rows(lake: Lake, question: FunnelQuestion, aliases: Mapping[str, str]) -> Rows:
    return Rows(lake, question.selection, aliases, sees_sessions=question.is_by_session)


def _counted(cursor: Cursor, lake: Lake, question: FunnelQuestion, aliases: Mapping[str, str], value: str) -> list[Row]:
    """(value, count, median and mean of each step…, mean of the whole), most entered first."""
    rows = _rows(lake, question, aliases)
    measures = ["count(*)"]
    for number in range(2, len(question.steps) + 1):
        taken = f"epoch_ms(t{number}) - epoch_ms(t{number - 1})"
        measures += [f"count(t{number})", f"median({taken}) / 1000", f"avg({taken}) / 1000"]
    measures.append(f"avg(epoch_ms(t{len(question.steps)}) - epoch_ms(t1)) / 1000")
    return cursor.rows(
        f"WITH {_best(rows, question)} SELECT {value} AS value, {', '.join(measures)} FROM best"
        " GROUP BY value ORDER BY count(*) DESC, value",
        rows.parameters.values,
    )


def _steps(question: FunnelQuestion, row: Sequence[float | None] | None) -> tuple[FunnelStep, ...]:
    names = [step.name for step in question.steps]
    measured = list(row[1:]) if row is not None else [0] + [0, None, None] * (len(names) - 1)
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


def _series(
    cursor: Cursor, lake: Lake, question: FunnelQuestion, aliases: Mapping[str, str]
) -> tuple[FunnelPoint, ...]:
    if not question.buckets:
        return ()
    rows = _rows(lake, question, aliases)
    found = cursor.rows(
        f"WITH {_best(rows, question)} SELECT bucket, count(*), count(t{len(question.steps)})"
        f" FROM {bucketed('best', question.buckets, rows.parameters, 't1')} GROUP BY bucket",
        rows.parameters.values,
    )
    counts = {bucket: (entered, completed) for bucket, entered, completed in found}
    return tuple(FunnelPoint(bucket.label, *counts.get(at, (0, 0))) for at, bucket in enumerate(question.buckets))


def _paths(
    cursor: Cursor, lake: Lake, question: FunnelQuestion, aliases: Mapping[str, str]
) -> tuple[tuple[FunnelPath, ...], int]:
    rows = _rows(lake, question, aliases)
    numbers = ", ".join(f"CASE WHEN s{number} THEN {number} END" for number in range(1, len(question.steps) + 1))
    found = cursor.rows(
        f"""WITH {_best(rows, question)},
        taken AS (
            SELECT unit, n, timestamp, unnest([{numbers}]) AS step
            FROM ordered JOIN (SELECT unit, n1, t1 FROM best) USING (unit)
            WHERE n >= n1 AND timestamp - t1 <= {rows.parameters.bind(question.window)}
        ),
        firsts AS (
            SELECT unit, step, min(n) AS n, epoch_ms(min(timestamp)) AS millis
            FROM taken WHERE step IS NOT NULL GROUP BY ALL
        )
        SELECT path, count(*), avg(seconds) FROM (
            SELECT list(step ORDER BY n, step) AS path, (max(millis) - min(millis)) / 1000 AS seconds
            FROM firsts GROUP BY unit
        ) GROUP BY path ORDER BY count(*) DESC, path LIMIT {_MOST_PATHS}""",
        rows.parameters.values,
    )
    names = [step.name for step in question.steps]
    paths = tuple(
        FunnelPath(tuple(names[step - 1] for step in path), count, round(seconds, 3)) for path, count, seconds in found
    )
    return paths, rows.version
