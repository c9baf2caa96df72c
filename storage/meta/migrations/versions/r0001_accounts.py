"""Accounts, projects and keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the three tables."""
    op.create_table(
        "accounts",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("email", sa.String(320), nullable=False, unique=True),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "projects",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("account_id", _ROW_ID, sa.ForeignKey("accounts.id"), nullable=False, index=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("domain", sa.String(255), nullable=False),
        sa.Column("timezone", sa.String(64), nullable=False),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("site_id", sa.String(17), nullable=False, unique=True),
        sa.Column("website_id", sa.String(36), nullable=False, unique=True),
        sa.Column("token", sa.String(36), nullable=False, unique=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("prefix", sa.String(12), nullable=False, index=True),
        sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("dialect", sa.String(16), nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("account_id", _ROW_ID, sa.ForeignKey("accounts.id"), nullable=False, index=True),
        sa.Column("project_id", _ROW_ID, sa.ForeignKey("projects.id"), index=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("last_used_at", _INSTANT),
        sa.Column("expires_at", _INSTANT),
        sa.Column("revoked_at", _INSTANT),
    )
