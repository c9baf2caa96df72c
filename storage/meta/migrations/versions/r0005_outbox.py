"""Messages that wait for their webhooks, how far the log has been told, and who works alone."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Three tables, and an index for those who ask for a kind of all projects after each flush."""
    op.create_index("ix_kept_kind", "kept", ["kind"])
    op.create_table(
        "outbox",
        sa.Column("number", _ROW_ID, primary_key=True),
        sa.Column("id", sa.String(40), nullable=False, unique=True),
        sa.Column("webhook_id", sa.String(24), nullable=False),
        sa.Column("project_id", _ROW_ID, nullable=False, index=True),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", _INSTANT, nullable=False),
        sa.Column("delivery_id", sa.String(24)),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_webhook_id", "outbox", ["webhook_id", "due_at"])
    op.create_table(
        "told",
        sa.Column("chain", sa.String(128), primary_key=True),
        sa.Column("partition", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("holder", sa.String(32), nullable=False),
        sa.Column("until", _INSTANT, nullable=False),
    )
