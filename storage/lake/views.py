"""The SQL of the views that analysts see: columns and types as in tables.py, and what is derived from them."""

from collections.abc import Sequence

from storage.lake.persons import IDENTITIES
from storage.lake.sessions import sessions_select
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
        return _sessions(columns, source)
    return f"SELECT {columns} FROM {source}"


def _sessions(columns: str, stored: str) -> str:
    """Stored sessions of closed dates, and those of all other dates computed from the view `events`."""
    open_days = f'SELECT DISTINCT "date" AS day FROM events WHERE "date" NOT IN (SELECT DISTINCT "date" FROM {stored})'
    return f"""SELECT {columns}, nullif(coalesce(known.person_id, distinct_id), '') AS person_id, is_open FROM (
SELECT {columns}, false AS is_open FROM {stored}
UNION ALL BY NAME
SELECT *, true AS is_open FROM (
{sessions_select("events", open_days)}
)
) AS all_sessions LEFT JOIN ({_KNOWN}) AS known ON known_project = project_id AND known_alias = distinct_id"""


_KNOWN = "SELECT project_id AS known_project, alias AS known_alias, person_id FROM identities"


def _visits() -> str:
    """Events of people, with the person each belongs to after aliases."""
    columns = ", ".join(f'"{column}"' for column in TABLES["events"].schema.names)
    return (
        f"SELECT {columns}, nullif(coalesce(known.person_id, distinct_id), '') AS person_id\n"
        f"FROM events AS all_events LEFT JOIN ({_KNOWN}) AS known\n"
        "ON known_project = project_id AND known_alias = distinct_id WHERE NOT is_bot AND NOT is_system"
    )


# Views over the view `events`, in the order in which they can be made, before that of the sessions.
DERIVED = {"identities": IDENTITIES, "visits": _visits()}
