"""The process that runs one statement of somebody we need not trust: run by its path, with nothing of ours.

It reads a line of JSON (statement, limits), says which tables and columns the statement needs, reads those as Arrow
streams, locks itself up, and answers one line of JSON and an Arrow stream. It never opens a file.
"""

import ctypes
import json
import os
import resource
import sys
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa

# Table functions that make rows out of their arguments; all others open something or tell of the database.
_FUNCTIONS = {"range", "generate_series", "unnest", "json_each", "json_tree", "repeat_row"}
_BATCH_ROWS = 2048
_NOBODY = 65534
_RESERVED = 4 * 1024**3
_TOO_MUCH = "the statement needs more memory than allowed: name fewer columns, or a range"
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS
_KILL = 9


class RefusedStatement(Exception):
    """The message is for whoever asked."""


def main(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """One statement."""
    order = json.loads(incoming.readline())
    _confine(order)
    connection = duckdb.connect(
        ":memory:",
        config={
            "threads": 1,
            "memory_limit": f"{order['memory']}B",
            "temp_directory": "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
        },
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_external_access = false")
        statement = _only_select(connection, order["statement"])
        needs = _needs(connection, order["statement"], order["tables"])
        _say(outgoing, {"needs": needs})
        for name in needs:
            with pa.ipc.open_stream(incoming) as stream:
                connection.register("incoming", stream)
                connection.execute(f"CREATE TABLE {name} AS SELECT * FROM incoming").fetchall()
                connection.unregister("incoming")
        connection.execute("SET lock_configuration = true")
        _answer(connection, statement, order["rows"], order["bytes"], outgoing)
    except RefusedStatement as error:
        _say(outgoing, {"error": str(error)})
    except duckdb.OutOfMemoryException:
        _say(outgoing, {"error": _TOO_MUCH})
    except duckdb.Error as error:
        _say(outgoing, {"error": str(error).split("\n", 1)[0][:500]})
    except (MemoryError, OSError):  # Arrow says it so
        _say(outgoing, {"error": _TOO_MUCH})


def _confine(order: dict[str, Any]) -> None:
    """Limits that the kernel holds, whatever DuckDB does; no way back."""
    libc = ctypes.CDLL(None)
    libc.prctl(_DIE_WITH_PARENT, _KILL, 0, 0, 0)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    with open("/proc/self/statm", encoding="ascii") as file:
        size, *_, data, _ = (int(pages) * resource.getpagesize() for pages in file.read().split())
    most = order["memory"] + order["spare"]
    for limit, value in (
        # What is written to; addresses that allocators only reserve are many times as many.
        (resource.RLIMIT_DATA, data + most),
        (resource.RLIMIT_AS, size + most + _RESERVED),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CPU, order["seconds"] + 1),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(limit, (value, value))
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)


def _only_select(connection: duckdb.DuckDBPyConnection, text: str) -> str:
    statements = connection.extract_statements(text)
    if len(statements) != 1:
        raise RefusedStatement(f"give one statement, not {len(statements)}")
    if statements[0].type != duckdb.StatementType.SELECT:
        raise RefusedStatement(f"only SELECT is possible here, not {statements[0].type.name}")
    query: str = statements[0].query
    return query


def _needs(connection: duckdb.DuckDBPyConnection, text: str, tables: dict[str, list[str]]) -> dict[str, list[str]]:
    """The tables that the statement names and the columns it may use. Raises RefusedStatement."""
    [[parsed]] = connection.execute("SELECT json_serialize_sql($statement)", {"statement": text}).fetchall()
    tree = json.loads(parsed)
    if tree["error"]:
        raise RefusedStatement(tree["error_message"])
    found = _Found()
    found.walk(tree["statements"])
    named = found.tables - found.ctes
    if unknown := sorted(named - tables.keys()):
        raise RefusedStatement(f"no table {unknown[0][:100]!r}: there are {', '.join(sorted(tables))}")
    # A table's own name, or its alias, stands for the whole row.
    if found.takes_all or found.single & (found.aliases | named):
        return {name: tables[name] for name in sorted(named)}
    return {
        # Rows are counted by any column.
        name: [column for column in tables[name] if column in found.texts] or tables[name][:1]
        for name in sorted(named)
    }


class _Found:
    """What a parsed statement speaks of."""

    def __init__(self) -> None:
        self.tables: set[str] = set()
        self.ctes: set[str] = set()
        self.aliases: set[str] = set()
        self.single: set[str] = set()
        self.texts: set[str] = set()
        self.takes_all = False

    def walk(self, node: Any) -> None:
        """Any part of the tree; names do not mind case."""
        if isinstance(node, list):
            for part in node:
                self.walk(part)
        elif isinstance(node, dict):
            self._look(node)
            for part in node.values():
                self.walk(part)
        elif isinstance(node, str):
            self.texts.add(node.lower())

    def _look(self, node: dict[str, Any]) -> None:
        match node.get("type"):
            case "BASE_TABLE":
                if node.get("schema_name") or node.get("catalog_name"):
                    raise RefusedStatement("tables have no schema here")
                self.tables.add(node["table_name"].lower())
            case "TABLE_FUNCTION":
                name = node["function"]["function_name"]
                if name.lower() not in _FUNCTIONS:
                    raise RefusedStatement(f"no function {name!r}")
            case "SHOW_REF":
                self.takes_all = True
            case "STAR":
                self.takes_all = True
            case "COLUMN_REF" if len(node["column_names"]) == 1:
                self.single.add(node["column_names"][0].lower())
        if node.get("ref_type") == "NATURAL":
            self.takes_all = True
        if isinstance(node.get("alias"), str) and node["alias"]:
            self.aliases.add(node["alias"].lower())
        cte_map = node.get("cte_map")
        if isinstance(cte_map, dict):
            self.ctes |= {entry["key"].lower() for entry in cte_map.get("map", ())}


def _answer(
    connection: duckdb.DuckDBPyConnection, statement: str, most_rows: int, most_bytes: int, outgoing: BinaryIO
) -> None:
    """At most so many rows and bytes, and whether there were more."""
    relation = connection.sql(statement)
    names = _unique(relation.columns)
    batches, rows, size, is_cut = [], 0, 0, False
    with relation.to_arrow_reader(_BATCH_ROWS) as reader:
        schema = pa.schema([field.with_name(name) for field, name in zip(reader.schema, names, strict=True)])
        for batch in reader:
            kept = batch.slice(0, most_rows - rows)
            while size + kept.nbytes > most_bytes:
                kept = kept.slice(0, kept.num_rows // 2)
            size += kept.nbytes
            rows += kept.num_rows
            batches.append(kept.rename_columns(names))
            if is_cut := kept.num_rows < batch.num_rows:
                break
    _say(outgoing, {"columns": names, "truncated": is_cut})
    with pa.ipc.new_stream(outgoing, schema) as stream:
        for batch in batches:
            stream.write_batch(batch)


def _unique(names: list[str]) -> list[str]:
    """A repeated name gets a number."""
    found: list[str] = []
    for name in names:
        candidate, number = name, 0
        while candidate in found:
            number += 1
            candidate = f"{name}_{number}"
        found.append(candidate)
    return found


def _say(outgoing: BinaryIO, message: dict[str, Any]) -> None:
    outgoing.write(json.dumps(message).encode() + b"\n")
    outgoing.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
