"""What `streamgauge init` does: an account, a project, and one key a dialect."""

from dataclasses import dataclass, field
from datetime import datetime

from schemas.projects import Dialect, Project, Scope
from storage.meta.accounts import Account, ensure_account
from storage.meta.engine import Metadata
from storage.meta.keys import KeySpec, create_keys
from storage.meta.projects import ensure_project


@dataclass(frozen=True, slots=True)
class Initialised:
    """An account and its project, with fresh secrets by name; the only sight of them."""

    account: Account
    project: Project
    secrets: dict[str, str] = field(repr=False)

    def to_json(self) -> dict[str, dict[str, int | str]]:
        """As the command prints it."""
        return {
            "account": {"email": self.account.email},
            "project": {
                "id": self.project.id,
                "name": self.project.name,
                "domain": self.project.domain,
                "site_id": self.project.site_id,
                "website_id": self.project.website_id,
                "token": self.project.token,
            },
            "keys": dict(self.secrets),
        }


def initialise(
    metadata: Metadata, email: str, password: str, project: str, domain: str | None, now: datetime
) -> Initialised:
    """Find or make the account and the project, and mint one more key of each kind; earlier keys stay valid.

    Raises Refused when the account is known and the password is not its own, ValueError for an impossible value.
    """
    account = ensure_account(metadata, email, password, now)
    tenant = ensure_project(metadata, account.id, project, domain, now)
    specs = _specs(account.id, tenant.id)
    made = create_keys(metadata, list(specs.values()), now)
    return Initialised(account, tenant, {name: key.secret for name, key in zip(specs, made, strict=True)})


def _specs(account_id: int, project_id: int) -> dict[str, KeySpec]:
    """Native keys are bound to the project; the other dialects' see the whole account, as in their originals."""
    return {
        "jcht": KeySpec(account_id, Dialect.JCHT, Scope.ADMIN, project_id, "init"),
        "jetrack": KeySpec(account_id, Dialect.JETRACK, name="init"),
        "zta": KeySpec(account_id, Dialect.ZTA, name="init"),
        "cohorly": KeySpec(account_id, Dialect.COHORLY, name="init"),
        "ovyxa": KeySpec(account_id, Dialect.OVYXA, name="init"),
        "ingest": KeySpec(account_id, Dialect.JCHT, Scope.INGEST, project_id, "init"),
        "read": KeySpec(account_id, Dialect.JCHT, Scope.READ, project_id, "init"),
    }
