"""The log of changes: kept with the change or not at all, filtered, paged."""

from datetime import timedelta

import pytest

from storage.meta.activities import (
    COMMAND_LINE,
    Activity,
    ActivityFilter,
    Actor,
    list_activities,
    mask_address,
    record,
)
from storage.meta.engine import Metadata
from tests.storage.meta.conftest import NOW, add_account


def note(metadata: Metadata, account_id: int, action: str, by: Actor = COMMAND_LINE, minutes: int = 0) -> None:
    with metadata.write() as connection:
        activity = Activity(account_id, action, "site", "site_1", "Shop", 7, {"changed": ["name"]})
        record(connection, activity, by, NOW + timedelta(minutes=minutes))


def test_line_says_who_what_and_from_where(metadata: Metadata, account_id: int) -> None:
    note(metadata, account_id, "site.created", Actor(account_id, "key_1", "192.168.*.*", "Test/1" * 100))

    [found] = list_activities(metadata, account_id, ActivityFilter(), limit=10).items
    assert found.id.startswith("activity_")
    assert found.activity == Activity(account_id, "site.created", "site", "site_1", "Shop", 7, {"changed": ["name"]})
    assert (found.type, found.at, found.key_id, found.masked_address) == ("site", NOW, "key_1", "192.168.*.*")
    assert found.actor is not None
    assert found.actor.email == "owner@example.org"
    assert len(found.agent) == 255


def test_command_line_has_no_name(metadata: Metadata, account_id: int) -> None:
    note(metadata, account_id, "site.created")

    [found] = list_activities(metadata, account_id, ActivityFilter(), limit=10).items
    assert (found.actor, found.key_id, found.masked_address) == (None, None, "")


def test_change_that_fails_leaves_no_line(metadata: Metadata, account_id: int) -> None:
    def fail() -> None:
        with metadata.write() as connection:
            record(connection, Activity(account_id, "site.created", "site", "site_1"), COMMAND_LINE, NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list_activities(metadata, account_id, ActivityFilter(), limit=10).items == []


def test_filters(metadata: Metadata, account_id: int) -> None:
    other = add_account(metadata, "other@example.org")
    note(metadata, account_id, "site.created", Actor(account_id))
    note(metadata, account_id, "api_key.created", Actor(other), minutes=1)
    note(metadata, account_id, "apixkey.created", minutes=2)
    note(metadata, other, "site.created", minutes=3)

    def found(**wanted: object) -> list[str]:
        page = list_activities(metadata, account_id, ActivityFilter(**wanted), limit=10)  # type: ignore[arg-type]
        assert page.total == len(page.items)
        return [item.activity.action for item in page.items]

    everything = ["apixkey.created", "api_key.created", "site.created"]
    assert found() == everything
    assert found(type="site") == ["site.created"]
    assert found(type="api_key") == ["api_key.created"], "an underscore is no wildcard"
    assert found(type="%") == []
    assert found(action="api_key.created") == ["api_key.created"]
    assert found(project_id=8) == []
    assert found(start=NOW + timedelta(minutes=1)) == everything[:2]
    assert found(end=NOW + timedelta(minutes=1)) == everything[2:]
    actor = list_activities(metadata, account_id, ActivityFilter(action="site.created"), limit=1).items[0].actor
    assert actor is not None
    assert found(user_id=actor.user_id) == ["site.created"]


def test_pages_by_offset_and_by_number(metadata: Metadata, account_id: int) -> None:
    for number in range(5):
        note(metadata, account_id, f"site.{number}")

    first = list_activities(metadata, account_id, ActivityFilter(), limit=2)
    assert ([item.activity.action for item in first.items], first.total) == (["site.4", "site.3"], 5)
    second = list_activities(metadata, account_id, ActivityFilter(), limit=2, offset=2)
    note(metadata, account_id, "site.5")
    same = list_activities(metadata, account_id, ActivityFilter(), limit=2, before=first.items[-1].number)
    assert same.items == second.items
    last = list_activities(metadata, account_id, ActivityFilter(), limit=2, before=second.items[-1].number)
    assert [item.number for item in last.items] == [last.oldest]


@pytest.mark.parametrize(
    ("address", "masked"),
    [
        ("192.168.17.4", "192.168.*.*"),
        ("2001:db8:0:1::5", "2001:db8:*"),
        ("::1", "0:0:*"),
        ("no address", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_addresses_are_masked(address: str | None, masked: str) -> None:
    assert mask_address(address) == masked
