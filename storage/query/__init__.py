"""Questions answered by DuckDB and by rollups over pinned versions of the lake."""
