"""Accounts, projects and keys in SQLite or PostgreSQL."""
