"""The SQL of the views that analysts see: columns and types as in tables.py, sessions by the 30-minute rule."""

from collections.abc import Sequence

from storage.lake.tables import TABLES, TableName

DUCKDB_TYPES = {
    "int64": "BIGINT",
    "int32": "INTEGER",
    "string": "VARCHAR",
    "binary": "BLOB",
    "bool": "BOOLEAN",
    "date32[day]": "DATE",
    "timestamp[us, tz=UTC]": "TIMESTAMPTZ",
}

# How `read_parquet` must be called: files hold no `date`, and old files lack columns that were added later.
# The type is quoted: a bare DATE is taken for an outer query's column `date` where a view stands in a subquery.
READ_OPTIONS = "hive_partitioning=true, hive_types={'date': 'DATE'}, union_by_name=true"


def literal(text: str) -> str:
    """A text as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def empty_select(name: TableName) -> str:
    """A SELECT without rows: every column of the table in order, whatever the files hold."""
    columns = ", ".join(f'NULL::{DUCKDB_TYPES[str(field.type)]} AS "{field.name}"' for field in TABLES[name].schema)
    return f"SELECT {columns} WHERE false"


def files_select(name: TableName, files: Sequence[str], root: str) -> str:
    """A SELECT over exactly these files below a root (an SQL expression), with every column where there is no file."""
    if not files:
        return empty_select(name)
    listed = ", ".join(literal(f"/{name}/{file}") for file in files)
    source = f"read_parquet([{root} || file FOR file IN [{listed}]], {READ_OPTIONS})"
    return f"{empty_select(name)} UNION ALL BY NAME SELECT * FROM {source}"


def view_select(name: TableName, source: str) -> str:
    """The view of one table over the relation that holds its files.

    Its columns and no other: an `a=b` in the lake's own path reads like a partition.
    """
    columns = ", ".join(f'"{column}"' for column in TABLES[name].schema.names)
    if name == "sessions":
        return f"SELECT {columns} FROM (\n{_SESSIONS.replace('{stored}', source)}\n)"
    return f"SELECT {columns} FROM {source}"


# Stored sessions of closed dates, and all others computed from the view `events`. A session is what shares a
# session id, else a person's events without 30 minutes of silence. Bots are left out; system events keep a
# session alive, begin none and are counted in nothing.
_SESSIONS = """
WITH visible AS (
  SELECT *, nullif(session_id, '') AS given, (kafka_partition, kafka_offset, record_index) AS place
  FROM events WHERE NOT is_bot AND (nullif(session_id, '') IS NOT NULL OR distinct_id <> '')
), marked AS (
  SELECT *, coalesce(epoch_us(timestamp) - epoch_us(lag(timestamp) OVER person) > 1800000000, true) AS is_first
  FROM visible WINDOW person AS (PARTITION BY project_id, given, distinct_id ORDER BY timestamp, place)
), numbered AS (
  SELECT *, CASE WHEN given IS NULL THEN distinct_id END AS visitor,
    CASE WHEN given IS NULL THEN count(*) FILTER (is_first) OVER person END AS visit
  FROM marked
  WINDOW person AS (PARTITION BY project_id, given, distinct_id ORDER BY timestamp, place ROWS UNBOUNDED PRECEDING)
), computed AS (
  SELECT
    project_id,
    arg_max(distinct_id, (timestamp, place)) AS distinct_id,
    min(timestamp) FILTER (NOT is_system) AS started_at,
    max(timestamp) AS ended_at,
    coalesce(given, visitor || '@' || epoch_ms(started_at)) AS session_id,
    min("date") FILTER (NOT is_system) AS "date",
    (epoch_us(ended_at) - epoch_us(started_at)) // 1000000 AS duration_seconds,
    count(*) FILTER (NOT is_system) AS events,
    count(*) FILTER (is_pageview AND NOT is_system) AS pageviews,
    arg_min(path, (timestamp, place)) FILTER (NOT is_system) AS entry_path,
    arg_max(path, (timestamp, place)) FILTER (NOT is_system) AS exit_path,
    arg_min(referrer_domain, (timestamp, place)) AS referrer_domain,
    arg_min(country, (timestamp, place)) AS country,
    arg_min(device, (timestamp, place)) AS device,
    count(*) FILTER (is_pageview AND NOT is_system) = 1 AS is_bounce
  FROM numbered
  GROUP BY project_id, given, visitor, visit
  HAVING count(*) FILTER (NOT is_system) > 0
)
SELECT * FROM {stored}
UNION ALL BY NAME
SELECT * FROM computed WHERE "date" NOT IN (SELECT DISTINCT "date" FROM {stored})
""".strip()
