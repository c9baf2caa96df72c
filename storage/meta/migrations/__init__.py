"""The history of the metadata's tables, run by Alembic."""
