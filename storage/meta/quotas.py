"""Room in an account's plan, looked at in the transaction that makes one more."""

from sqlalchemy import Connection, Select, select

from schemas.quotas import Quotas, refusal
from storage.errors import QuotaReached
from storage.meta.models import accounts


def demand_room(connection: Connection, quotas: Quotas, account_id: int, thing: str, held: Select[int]) -> None:
    """Raises QuotaReached where an account holds as many as its plan allows."""
    if not quotas:
        return
    # Locked, so that nobody else makes one meanwhile.
    plan = select(accounts.c.plan).where(accounts.c.id == account_id).with_for_update()
    most = quotas.get(connection.execute(plan).scalar_one_or_none() or "", {}).get(thing)
    if most is not None and connection.execute(held).scalar_one() >= most:
        raise QuotaReached(refusal(thing))
