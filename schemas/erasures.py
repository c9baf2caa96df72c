"""Requests to erase a person, kept until they are carried out and as the receipt afterwards."""

from typing import Any, ClassVar, Literal

from schemas.kept import Body


class Erasure(Body, frozen=True, kw_only=True):
    """One request. The ids are gone from it once they are gone from the lake."""

    kind: ClassVar[str] = "erasure"
    prefix: ClassVar[str] = "job"

    ids: tuple[str, ...] = ()
    status: Literal["pending", "done"] = "pending"
    receipts: tuple[dict[str, Any], ...] = ()

    @property
    def label(self) -> str:
        # Not an id: the log of changes keeps what it is told.
        return "a person"
