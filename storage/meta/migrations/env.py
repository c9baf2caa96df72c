"""Alembic's entry: runs the revisions on the connection, and in the transaction, that it was given."""

from alembic import context

from storage.meta.models import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables,
    transactional_ddl=True,  # true of SQLite too, whose transaction is begun by us and not by its driver
)
context.run_migrations()
