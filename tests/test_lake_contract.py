"""`docs/lake.md` says of every column what the schemas say, and its examples run."""

import re
from pathlib import Path

import duckdb
import pytest

from storage.lake.publication import publish
from storage.lake.tables import TABLES, TableName
from storage.lake.views import DUCKDB_TYPES
from tests.storage.lake.river import River

DOCUMENT = (Path(__file__).parent.parent / "docs" / "lake.md").read_text(encoding="utf-8")
VERSION_COLUMNS = {
    "table_name": ("VARCHAR", False),
    "version": ("BIGINT", False),
    "published_at": ("TIMESTAMPTZ", False),
    "row_count": ("BIGINT", True),
    "removed_rows": ("BIGINT", False),
}
# What the views have beyond the columns of the tables.
ADDED_COLUMNS = {
    "sessions": {"person_id": ("VARCHAR", True), "is_open": ("BOOLEAN", False)},
    "visits": {"person_id": ("VARCHAR", True)},
    "identities": {"project_id": ("BIGINT", False), "alias": ("VARCHAR", False), "person_id": ("VARCHAR", False)},
}


def documented(heading: str) -> dict[str, tuple[str, bool]]:
    """Columns of the table below a heading, in order: type, and whether null is possible."""
    section = re.split(r"^#{2,3} ", DOCUMENT.partition(f"\n{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]+) \| ([^|]+) \|$", section, flags=re.MULTILINE)
    assert all(meaning.strip() for *_, meaning in rows)
    return {name: (kind, null != "never") for name, kind, null, _ in rows}


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_documented_as_it_is(name: TableName) -> None:
    schema = {field.name: (DUCKDB_TYPES[str(field.type)], field.nullable) for field in TABLES[name].schema}
    schema |= ADDED_COLUMNS.get(name, {})
    found = documented(f"### `{name}`")
    assert found == schema
    assert list(found) == list(schema)


@pytest.mark.parametrize("name", ["visits", "identities"])
def test_what_other_views_add_is_documented(name: str) -> None:
    assert documented(f"### `{name}`") == ADDED_COLUMNS[name]


def test_the_versions_view_is_documented(tmp_path: Path) -> None:
    assert documented("## Views of both files") == VERSION_COLUMNS
    River(tmp_path).append()
    publish(tmp_path)
    with duckdb.connect(str(tmp_path / "lake.duckdb"), read_only=True) as connection:
        assert [name for name, *_ in connection.sql("DESCRIBE lake_version").fetchall()] == list(VERSION_COLUMNS)


def test_every_example_runs(tmp_path: Path) -> None:
    River(tmp_path).append()
    publish(tmp_path)
    examples = re.findall(r"^```sql\n(.*?)^```", DOCUMENT, flags=re.MULTILINE | re.DOTALL)
    assert len(examples) == 7
    with duckdb.connect(str(tmp_path / "lake.duckdb"), read_only=True) as connection:
        for example in examples:
            for statement in connection.extract_statements(example):
                connection.execute(statement).fetchall()


def test_never_null_columns_are_never_null_in_what_is_written(tmp_path: Path) -> None:
    River(tmp_path).append()
    publish(tmp_path)
    required = [name for name, (_, is_nullable) in documented("### `sessions`").items() if not is_nullable]
    with duckdb.connect(str(tmp_path / "lake.duckdb"), read_only=True) as connection:
        anywhere = " OR ".join(f'"{name}" IS NULL' for name in required)
        assert connection.execute(f"SELECT count(*), count(*) FILTER ({anywhere}) FROM sessions").fetchone() == (7, 0)
