"""The tables of the metadata as the code reads them; migrations make them."""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

from storage.meta.secrets import new_id

# SQLite numbers rows by itself only in a column that is exactly INTEGER.
_ROW_ID = BigInteger().with_variant(Integer(), "sqlite")


class Instant(TypeDecorator[datetime]):
    """An aware instant, in UTC on both sides; a naive one is refused instead of guessed."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs its time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


tables = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

accounts = Table(
    "accounts",
    tables,
    Column("id", _ROW_ID, primary_key=True),
    Column("email", String(320), nullable=False, unique=True),
    Column("password_hash", String(255), nullable=False),
    Column("created_at", Instant(), nullable=False),
    Column(
        "user_id",
        String(17),
        nullable=False,
        server_default="",
        default=lambda: new_id("user"),
        index=True,
        unique=True,
    ),
    Column("first_name", String(255), nullable=False, server_default=""),
    Column("last_name", String(255), nullable=False, server_default=""),
    Column("picture", Text),
    Column("plan", String(16), nullable=False, server_default="free"),
    Column("rate_limit", String(64)),
    Column("email_verified_at", Instant()),
    sqlite_autoincrement=True,
)

# The pair (account, name) is found under a lock and not unique: two sites of one account may share a display name.
# An id is never given out twice (AUTOINCREMENT), because rows in the lake and in the log carry it for ever.
projects = Table(
    "projects",
    tables,
    Column("id", _ROW_ID, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("name", String(255), nullable=False),
    Column("domain", String(255), nullable=False),
    Column("timezone", String(64), nullable=False),
    Column("public", Boolean, nullable=False),
    Column("site_id", String(17), nullable=False, unique=True),
    Column("website_id", String(36), nullable=False, unique=True),
    Column("token", String(36), nullable=False, unique=True),
    Column("created_at", Instant(), nullable=False),
    Column("settings", Text, nullable=False, server_default="{}"),
    Column("deleted_at", Instant()),
    # When a deleted one is past restoring, and when its rows had left the lake; the row itself stays, so that no
    # reference to it dangles and its numbers are never given out again.
    Column("purge_at", Instant()),
    Column("purged_at", Instant()),
    sqlite_autoincrement=True,
)

# A prefix is not unique: `zta_live_` leaves three random characters in it.
keys = Table(
    "keys",
    tables,
    Column("id", String(16), primary_key=True),
    Column("prefix", String(12), nullable=False, index=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("dialect", String(16), nullable=False),
    Column("scope", String(16), nullable=False),
    Column("name", String(255), nullable=False),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("project_id", ForeignKey("projects.id"), index=True),
    Column("created_at", Instant(), nullable=False),
    Column("last_used_at", Instant()),
    Column("expires_at", Instant()),
    Column("revoked_at", Instant()),
    Column("rate_limit", String(64)),
    Column("source", String(24)),
)

# Everything a project keeps beside its events, one row each: what it is, and as JSON what it says. What must stay
# secret is sealed; what is shown by a secret link is found by the link's hash.
kept = Table(
    "kept",
    tables,
    Column("number", _ROW_ID, primary_key=True),
    Column("id", String(24), nullable=False, unique=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("parent_id", String(24), index=True),
    Column("body", Text, nullable=False),
    Column("sealed", LargeBinary),
    Column("digest", LargeBinary(32), unique=True),
    Column("created_by", ForeignKey("accounts.id")),
    Column("created_at", Instant(), nullable=False),
    Column("updated_at", Instant(), nullable=False),
    Column("deleted_at", Instant()),
    Index("ix_kept_project_id", "project_id", "kind"),
    Index("ix_kept_kind", "kind"),
    sqlite_autoincrement=True,
)

logins = Table(
    "logins",
    tables,
    Column("id", String(17), primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("surface", String(16), nullable=False),
    Column("created_at", Instant(), nullable=False),
    Column("last_active_at", Instant(), nullable=False),
    Column("expires_at", Instant(), nullable=False),
    Column("revoked_at", Instant()),
    Column("agent", String(255), nullable=False),
    Column("masked_address", String(64), nullable=False),
)

password_resets = Table(
    "password_resets",
    tables,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("created_at", Instant(), nullable=False),
    Column("expires_at", Instant(), nullable=False),
    Column("used_at", Instant()),
)

# Without a project the role holds for all of the account's. The owner of an account has no row: it is the account.
members = Table(
    "members",
    tables,
    Column("id", _ROW_ID, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("person_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("project_id", ForeignKey("projects.id"), index=True),
    Column("role", String(16), nullable=False),
    Column("joined_at", Instant(), nullable=False),
    sqlite_autoincrement=True,
)

# One that was declined or withdrawn has ended.
invitations = Table(
    "invitations",
    tables,
    Column("id", String(19), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("project_id", ForeignKey("projects.id"), index=True),
    Column("email", String(320), nullable=False, index=True),
    Column("role", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("inviter_id", ForeignKey("accounts.id")),
    Column("invited_at", Instant(), nullable=False),
    Column("expires_at", Instant(), nullable=False),
    Column("accepted_at", Instant()),
    Column("ended_at", Instant()),
)

# Targets are named by text and not by reference: the log outlives them.
activities = Table(
    "activities",
    tables,
    Column("number", _ROW_ID, primary_key=True),
    Column("id", String(21), nullable=False, unique=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("project_id", _ROW_ID),
    Column("at", Instant(), nullable=False),
    Column("action", String(64), nullable=False),
    Column("actor_id", ForeignKey("accounts.id")),
    Column("key_id", String(16)),
    Column("target_type", String(32), nullable=False),
    Column("target_id", String(64), nullable=False),
    Column("target_name", String(320), nullable=False),
    Column("metadata", Text, nullable=False),
    Column("masked_address", String(64), nullable=False),
    Column("agent", String(255), nullable=False),
    Index("ix_activities_account_id", "account_id", "at"),
    sqlite_autoincrement=True,
)

# How the service found itself, once a minute: the minute is the key, so that of several processes one writes.
checks = Table(
    "checks",
    tables,
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("is_ok", Boolean, nullable=False),
    Column("latency_ms", Integer, nullable=False),
)

# Messages that wait for their webhooks; a row goes when what became of its message is kept as a delivery.
outbox = Table(
    "outbox",
    tables,
    Column("number", _ROW_ID, primary_key=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("webhook_id", String(24), nullable=False),
    Column("project_id", _ROW_ID, nullable=False, index=True),
    Column("event", String(32), nullable=False),
    Column("at", Instant(), nullable=False),
    Column("data", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Instant(), nullable=False),
    Column("delivery_id", String(24)),
    Index("ix_outbox_webhook_id", "webhook_id", "due_at"),
    sqlite_autoincrement=True,
)

# Up to which offset of each partition of a log the outbox has what webhooks are told.
told = Table(
    "told",
    tables,
    Column("chain", String(128), primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next", BigInteger, nullable=False),
)

# What one process at a time does for all, and until when it is that process.
leases = Table(
    "leases",
    tables,
    Column("name", String(32), primary_key=True),
    Column("holder", String(32), nullable=False),
    Column("until", Instant(), nullable=False),
)
