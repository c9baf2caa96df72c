"""What projects keep beside their events, and keys that belong to one of their sources."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """One table for all kinds."""
    op.add_column("keys", sa.Column("source", sa.String(24)))
    op.create_table(
        "kept",
        sa.Column("number", _ROW_ID, primary_key=True),
        sa.Column("id", sa.String(24), nullable=False, unique=True),
        sa.Column("project_id", _ROW_ID, sa.ForeignKey("projects.id"), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("parent_id", sa.String(24), index=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("digest", sa.LargeBinary(32), unique=True),
        sa.Column("created_by", _ROW_ID, sa.ForeignKey("accounts.id")),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.Column("deleted_at", _INSTANT),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_kept_project_id", "kept", ["project_id", "kind"])
