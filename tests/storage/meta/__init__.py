"""Tests of the metadata, each on SQLite and on a real PostgreSQL."""
