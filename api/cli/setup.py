"""Accounts, projects and keys by hand: what Settings -> API Keys does, for a shell."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from api.cli.options import DataDir, Json, load
from api.cli.output import Failure, note, say, say_json, say_table
from schemas.projects import Dialect, Scope
from storage.meta.accounts import PLANS, Account, find_account, set_terms
from storage.meta.engine import Metadata, open_metadata
from storage.meta.initialisation import initialise
from storage.meta.keys import KeyRecord, KeySpec, NewKey, create_key, list_keys, regenerate_key, revoke_key
from storage.meta.projects import list_projects
from storage.settings import StorageSettings

keys = typer.Typer(add_completion=False, help="List, create, regenerate and revoke keys.")

Email = Annotated[str, typer.Option(help="The account's e-mail address.")]
Reference = Annotated[str, typer.Argument(metavar="KEY", help="Id, prefix or secret of the key.")]
Owner = Annotated[str | None, typer.Option("--email", help="Only keys of this account.")]


def init(
    email: Email,
    password: Annotated[str, typer.Option(envvar="STREAMGAUGE_PASSWORD", help="The account's password.")],
    project: Annotated[str, typer.Option(help="Name of the project.")],
    domain: Annotated[str | None, typer.Option(help="Domain of the project [default: its name].")] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Create or find an account and a project, and mint a key for each dialect."""
    with _metadata(data_dir) as metadata:
        made = initialise(metadata, email, password, project, domain, _now())
    if json:
        say_json(made.to_json())
        return
    say(f"account {made.account.email}")
    say(f"project {made.project.name}")
    for name, value in made.to_json()["project"].items():
        say(f"  {name:<11}{value}")
    say("keys, shown this once:")
    for name, secret in made.secrets.items():
        say(f"  {name:<11}{secret}")


def account(
    email: Annotated[str, typer.Argument(help="The account's e-mail address.")],
    plan: Annotated[str | None, typer.Option(help=f"Set the plan: {', '.join(PLANS)}.")] = None,
    rate_limit: Annotated[
        str | None, typer.Option(help="Set limits of its own, such as 1200/60; 0 for none, '' for the usual ones.")
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show an account, and set its plan or its rate limits."""
    with _metadata(data_dir) as metadata:
        found = _account(metadata, email)
        if plan is not None or rate_limit is not None:
            limit = found.rate_limit if rate_limit is None else rate_limit or None
            set_terms(metadata, found.id, plan or found.plan, limit)
            found = _account(metadata, email)
    told = {"id": found.user_id, "email": found.email, "plan": found.plan, "rateLimit": found.rate_limit}
    if json:
        say_json(told)
    else:
        for name, value in told.items():
            say(f"{name:<11}{value or 'usual'}")


@keys.command("list", help="Show keys, revoked ones included; never their secrets.")
def list_(
    email: Owner = None,
    dialect: Annotated[Dialect | None, typer.Option(help="Only keys of this dialect.")] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    with _metadata(data_dir) as metadata:
        records = list_keys(metadata, _account_id(metadata, email), dialect)
    if json:
        say_json([_as_json(record) for record in records])
        return
    columns = ("ID", "PREFIX", "DIALECT", "SCOPE", "PROJECT", "NAME", "LAST USED", "STATE")
    say_table(columns, [_as_row(record, _now()) for record in records])


@keys.command(help="Mint a key; its secret is shown this once.")
def create(
    email: Email,
    dialect: Annotated[Dialect, typer.Option(help="The surface that the key is for.")] = Dialect.JCHT,
    scope: Annotated[Scope, typer.Option(help="What the key may do.")] = Scope.ADMIN,
    project: Annotated[str | None, typer.Option(help="Project it is bound to, by name or number.")] = None,
    name: Annotated[str, typer.Option(help="A name to know it by.")] = "",
    expires: Annotated[datetime | None, typer.Option(help="When it ends, in UTC.")] = None,
    rate_limit: Annotated[str | None, typer.Option(help="Limits of its own, such as 1200/60; 0 for none.")] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    with _metadata(data_dir) as metadata:
        owner = _account(metadata, email)
        project_id = _project_id(metadata, owner, project, dialect)
        expires_at = expires.replace(tzinfo=UTC) if expires else None
        spec = KeySpec(owner.id, dialect, scope, project_id, name, expires_at, rate_limit)
        made = create_key(metadata, spec, _now())
    _show(made, json)


@keys.command(help="Revoke a key and mint its like; the new secret is shown this once.")
def regenerate(key: Reference, email: Owner = None, data_dir: DataDir = None, json: Json = False) -> None:
    with _metadata(data_dir) as metadata:
        made = regenerate_key(metadata, _account_id(metadata, email), key, _now())
    _show(made, json)


@keys.command(help="Revoke a key; it cannot be undone.")
def revoke(key: Reference, email: Owner = None, data_dir: DataDir = None, json: Json = False) -> None:
    with _metadata(data_dir) as metadata:
        record = revoke_key(metadata, _account_id(metadata, email), key, _now())
    if json:
        say_json(_as_json(record))
    else:
        say(f"revoked {record.key.id} ({record.prefix}…)")


@contextmanager
def _metadata(data_dir: Path | None) -> Iterator[Metadata]:
    settings = load(StorageSettings, data_dir)
    directory = settings.directory.create()
    with open_metadata(settings.metadata_url, directory.key_revision) as metadata:
        metadata.migrate()
        yield metadata


def _account(metadata: Metadata, email: str) -> Account:
    found = find_account(metadata, email)
    if found is None:
        raise Failure(f"no account {email}; `streamgauge init` makes one")
    return found


def _account_id(metadata: Metadata, email: str | None) -> int | None:
    return _account(metadata, email).id if email else None


def _project_id(metadata: Metadata, owner: Account, reference: str | None, dialect: Dialect) -> int | None:
    """Native keys belong to a project, and the only one need not be named; the others may be the account's."""
    projects = list_projects(metadata, owner.id)
    names = ", ".join(project.name for project in projects) or "none"
    if reference is None:
        if dialect is not Dialect.JCHT:
            return None
        if len(projects) != 1:
            raise Failure(f"which project? name one with --project; the account has: {names}")
        return projects[0].id
    for project in projects:
        if reference in (project.name, str(project.id)):
            return project.id
    raise Failure(f"the account has no project {reference!r}; it has: {names}")


def _show(made: NewKey, json: bool) -> None:
    if json:
        say_json(_as_json(made.record) | {"key": made.secret})
    else:
        say(made.secret)
        note(f"{made.record.key.id}: shown this once")


def _as_json(record: KeyRecord) -> dict[str, object]:
    return {
        "id": record.key.id,
        "prefix": record.prefix,
        "dialect": record.key.dialect.value,
        "scope": record.key.scope.value,
        "project": record.key.project_id,
        "name": record.name,
        "createdAt": _instant(record.created_at),
        "lastUsedAt": _instant(record.last_used_at),
        "expiresAt": _instant(record.expires_at),
        "revokedAt": _instant(record.revoked_at),
    }


def _as_row(record: KeyRecord, now: datetime) -> tuple[str, ...]:
    key = record.key
    project = "all" if key.project_id is None else str(key.project_id)
    used = _instant(record.last_used_at) or "never"
    return (key.id, record.prefix, key.dialect.value, key.scope.value, project, record.name, used, _state(record, now))


def _state(record: KeyRecord, now: datetime) -> str:
    if record.revoked_at:
        return "revoked"
    return "expired" if record.expires_at and record.expires_at <= now else "live"


def _instant(value: datetime | None) -> str | None:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value else None


def _now() -> datetime:
    return datetime.now(UTC)
