"""People and what they may do: profiles, logins, teams, invitations, settings of projects, limits of keys, a log."""

import secrets
import string

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INSTANT = sa.DateTime(timezone=True)
_BASE62 = string.digits + string.ascii_letters


def upgrade() -> None:
    """Add columns with defaults, since SQLite cannot change them later, and make the new tables."""
    _accounts()
    op.add_column("projects", sa.Column("settings", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("projects", sa.Column("deleted_at", _INSTANT))
    op.add_column("projects", sa.Column("purge_at", _INSTANT))
    op.add_column("projects", sa.Column("purged_at", _INSTANT))
    op.add_column("keys", sa.Column("rate_limit", sa.String(64)))
    _logins()
    _teams()
    op.create_table(
        "activities",
        sa.Column("number", _ROW_ID, primary_key=True),
        sa.Column("id", sa.String(21), nullable=False, unique=True),
        sa.Column("account_id", _ROW_ID, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("project_id", _ROW_ID),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("actor_id", _ROW_ID, sa.ForeignKey("accounts.id")),
        sa.Column("key_id", sa.String(16)),
        sa.Column("target_type", sa.String(32), nullable=False),
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("target_name", sa.String(320), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("masked_address", sa.String(64), nullable=False),
        sa.Column("agent", sa.String(255), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_activities_account_id", "activities", ["account_id", "at"])


def _accounts() -> None:
    op.add_column("accounts", sa.Column("user_id", sa.String(17), nullable=False, server_default=""))
    for name in ("first_name", "last_name"):
        op.add_column("accounts", sa.Column(name, sa.String(255), nullable=False, server_default=""))
    op.add_column("accounts", sa.Column("picture", sa.Text()))
    op.add_column("accounts", sa.Column("plan", sa.String(16), nullable=False, server_default="free"))
    op.add_column("accounts", sa.Column("rate_limit", sa.String(64)))
    op.add_column("accounts", sa.Column("email_verified_at", _INSTANT))
    accounts = sa.table("accounts", sa.column("id", _ROW_ID), sa.column("user_id", sa.String))
    connection = op.get_bind()
    for number in connection.execute(sa.select(accounts.c.id)).scalars().all():
        named = "user_" + "".join(secrets.choice(_BASE62) for _ in range(12))
        connection.execute(accounts.update().where(accounts.c.id == number).values(user_id=named))
    op.create_index("ix_accounts_user_id", "accounts", ["user_id"], unique=True)


def _logins() -> None:
    op.create_table(
        "logins",
        sa.Column("id", sa.String(17), primary_key=True),
        sa.Column("account_id", _ROW_ID, sa.ForeignKey("accounts.id"), nullable=False, index=True),
        sa.Column("surface", sa.String(16), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("last_active_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("revoked_at", _INSTANT),
        sa.Column("agent", sa.String(255), nullable=False),
        sa.Column("masked_address", sa.String(64), nullable=False),
    )
    op.create_table(
        "password_resets",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("account_id", _ROW_ID, sa.ForeignKey("accounts.id"), nullable=False, index=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("used_at", _INSTANT),
    )


def _teams() -> None:
    op.create_table(
        "members",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("account_id", _ROW_ID, sa.ForeignKey("accounts.id"), nullable=False, index=True),
        sa.Column("person_id", _ROW_ID, sa.ForeignKey("accounts.id"), nullable=False, index=True),
        sa.Column("project_id", _ROW_ID, sa.ForeignKey("projects.id"), index=True),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("joined_at", _INSTANT, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "invitations",
        sa.Column("id", sa.String(19), primary_key=True),
        sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("account_id", _ROW_ID, sa.ForeignKey("accounts.id"), nullable=False, index=True),
        sa.Column("project_id", _ROW_ID, sa.ForeignKey("projects.id"), index=True),
        sa.Column("email", sa.String(320), nullable=False, index=True),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("inviter_id", _ROW_ID, sa.ForeignKey("accounts.id")),
        sa.Column("invited_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("accepted_at", _INSTANT),
        sa.Column("ended_at", _INSTANT),
    )
