"""`lake.sql`: the newest version of each table found in plain SQL, with no extension and none of our code.

It reads the Delta log: a classic checkpoint where there is one, and every entry after it. What it does not
understand (a gap, another form of checkpoint, deletion vectors) it refuses, and leaves no view behind.
"""

import re

from storage.lake.tables import TABLES, TableName, table_uri
from storage.lake.views import DERIVED, READ_OPTIONS, empty_select, literal, view_select

_HEAD = r"""-- The lake as temporary views of its newest version: events, visits, identities, rollups,
-- sessions, dead_letters, lake_version.
--   duckdb -init lake.sql        or, in a session:  .read lake.sql
-- Pinned for the session until this is read again. Written by Streamgauge: changes are overwritten.

CREATE OR REPLACE TEMP MACRO sg_log(place) AS TABLE
  SELECT file, regexp_extract(name, '^(\d{20})\.', 1)::BIGINT AS v,
    regexp_full_match(name, '\d{20}\.json') AS is_entry,
    regexp_full_match(name, '\d{20}\.checkpoint\.parquet') AS is_checkpoint
  FROM (SELECT file, regexp_extract(file, '[^/]*$') AS name FROM glob(place || '/_delta_log/*'))
  WHERE regexp_full_match(name, '\d{20}\.(json|checkpoint\.(.+\.)?(parquet|json))');
CREATE OR REPLACE TEMP MACRO sg_quote(text) AS '''' || replace(text, '''', '''''') || '''';
SET VARIABLE sg_at = get_current_timestamp();
"""

# The command line goes on after a statement that failed, so each one starts from NULL and a view is made only of
# a file list that was found.
# Listed twice: a directory read beside a writer may miss an entry and show a later one. What the first listing
# shows was whole before the second began, so the second, up to the first one's head, misses nothing.
_TABLE = r"""
-- {name}
DROP VIEW IF EXISTS temp.{name};
DROP TABLE IF EXISTS temp.sg_found;
SET VARIABLE sg_{name} = NULL;
SET VARIABLE sg_{name}_version = NULL;
SET VARIABLE sg_head = NULL;
SET VARIABLE sg_listed = NULL;
SET VARIABLE sg_base = NULL;
SET VARIABLE sg_entries = NULL;
SET VARIABLE sg_actions = NULL;
SET VARIABLE sg_files = NULL;
SET VARIABLE sg_head = (SELECT max(v) FROM sg_log({place}) WHERE is_entry OR is_checkpoint);
SET VARIABLE sg_listed = (
  SELECT list({'file': file, 'v': v, 'is_entry': is_entry, 'is_checkpoint': is_checkpoint})
  FROM sg_log({place}) WHERE v <= getvariable('sg_head'));
SET VARIABLE sg_base = (
  SELECT coalesce(max(f.v), -1) FROM (SELECT unnest(getvariable('sg_listed')) AS f) WHERE f.is_checkpoint);
SET VARIABLE sg_entries = (
  SELECT {'number': count(*), 'quoted': string_agg(sg_quote(f.file), ', ')}
  FROM (SELECT unnest(getvariable('sg_listed')) AS f) WHERE f.is_entry AND f.v > getvariable('sg_base'));
SET VARIABLE sg_actions = (
  SELECT CASE
    WHEN getvariable('sg_head') IS NULL THEN error({missing})
    WHEN count(*) FILTER (NOT f.is_entry AND NOT f.is_checkpoint) > 0 THEN error({form})
    WHEN getvariable('sg_entries').number <> getvariable('sg_head') - getvariable('sg_base') THEN error({gap})
    ELSE concat_ws(' UNION ALL BY NAME ',
      'SELECT NULL::BIGINT AS v, NULL::VARCHAR AS path, NULL::BOOLEAN AS is_live, NULL::VARCHAR AS stats, '
      || 'NULL::BIGINT AS reader, NULL::VARCHAR AS app, NULL::BIGINT AS app_version, NULL::BOOLEAN AS is_vector '
      || 'WHERE false',
      'SELECT ' || getvariable('sg_base') || ' AS v, "add".path AS path, true AS is_live, "add".stats AS stats, '
      || 'protocol.minReaderVersion AS reader, txn.appId AS app, txn.version AS app_version FROM read_parquet('
      || sg_quote(max(f.file) FILTER (f.is_checkpoint AND f.v = getvariable('sg_base'))) || ')',
      'SELECT regexp_extract(filename, ''(\d{20})\.json$'', 1)::BIGINT AS v, '
      || 'coalesce("add".path, remove.path) AS path, "add".path IS NOT NULL AS is_live, "add".stats AS stats, '
      || 'protocol.minReaderVersion AS reader, txn.appId AS app, txn.version AS app_version, '
      || '"add".deletionVector IS NOT NULL AS is_vector FROM read_json(['
      || getvariable('sg_entries').quoted
      || '], filename=true, format=''newline_delimited'', maximum_object_size=268435456, columns={'
      || '''add'': ''STRUCT(path VARCHAR, stats VARCHAR, deletionVector VARCHAR)'', '
      || '''remove'': ''STRUCT(path VARCHAR)'', ''protocol'': ''STRUCT(minReaderVersion BIGINT)'', '
      || '''txn'': ''STRUCT(appId VARCHAR, version BIGINT)''})')
  END
  FROM (SELECT unnest(getvariable('sg_listed')) AS f));
CREATE TEMP TABLE sg_found AS SELECT * FROM query(getvariable('sg_actions'));
SET VARIABLE sg_files = (
  SELECT CASE
    WHEN (SELECT max(reader) > 1 OR bool_or(is_vector) FROM sg_found) THEN error({reader})
    ELSE (
      SELECT coalesce(list({'file': {place} || '/' || path, 'row_count': row_count}), []) FROM (
        SELECT url_decode(path) AS path,
          (arg_max(stats, v * 2 + is_live::INTEGER)::JSON ->> 'numRecords')::BIGINT AS row_count
        FROM sg_found WHERE path IS NOT NULL
        GROUP BY ALL HAVING arg_max(is_live, v * 2 + is_live::INTEGER)))
  END);
SET VARIABLE sg_{name}_version = (
  SELECT {
    'table_name': '{name}', 'version': getvariable('sg_head'), 'published_at': getvariable('sg_at'),
    'row_count': CASE WHEN count(*) = count(f.row_count) THEN coalesce(sum(f.row_count), 0)::BIGINT END,
    'removed_rows': coalesce((
      SELECT arg_max(app_version, v) FROM sg_found WHERE app = 'maintain#removed'), 0)}
  FROM (SELECT unnest(getvariable('sg_files')) AS f));
SET VARIABLE sg_{name} = (
  SELECT CASE WHEN getvariable('sg_files') IS NOT NULL THEN {empty}
    || coalesce({read} || string_agg(sg_quote(f.file), ', ') || {options}, '') END
  FROM (SELECT unnest(getvariable('sg_files')) AS f));
CREATE TEMP VIEW {name} AS
{view};
"""

_TAIL = """
DROP TABLE IF EXISTS temp.sg_found;
DROP VIEW IF EXISTS temp.lake_version;
CREATE TEMP VIEW lake_version AS SELECT unnest([{versions}], max_depth := 2);
"""


def script(root: str) -> str:
    """The text of `lake.sql` for a lake that readers find at `root`."""
    versions = ", ".join(f"getvariable('sg_{name}_version')" for name in TABLES)
    tables = [_table(name, table_uri(root, name)) for name in TABLES]
    return _HEAD + tables[0] + _derived() + "".join(tables[1:]) + _TAIL.format(versions=versions)


def _derived() -> str:
    return "".join(
        f"\nDROP VIEW IF EXISTS temp.{name};\nCREATE TEMP VIEW {name} AS\n{select};\n"
        for name, select in DERIVED.items()
    )


def _table(name: TableName, place: str) -> str:
    filled = {
        "empty": literal(empty_select(name)),
        "read": literal(" UNION ALL BY NAME SELECT * FROM read_parquet(["),
        "options": literal(f"], {READ_OPTIONS})"),
        "view": view_select(name, f"query(getvariable('sg_{name}'))"),
        "missing": literal(f"no Delta table at {place}"),
        "form": literal(f"{place} has a checkpoint of a form that lake.sql does not know: use a Delta reader"),
        "gap": literal(f"the log of {place} has a gap: an entry is missing, so no number would be right"),
        "reader": literal(f"{place} has deletion vectors or column mapping: use a Delta reader"),
        "name": name,
        "place": literal(place),
    }
    return re.sub(r"\{([a-z]+)\}", lambda found: filled[found[1]], _TABLE)
