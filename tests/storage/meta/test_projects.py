"""Projects: one row, many ids."""

import re
import uuid

import pytest
from sqlalchemy import delete

from storage.errors import NotFound
from storage.meta.engine import Metadata
from storage.meta.models import kept, projects
from storage.meta.projects import ensure_project, known_project_ids, list_projects, project
from tests.storage.meta.conftest import NOW, add_account


def test_new_project_has_every_id(metadata: Metadata, account_id: int) -> None:
    made = ensure_project(metadata, account_id, "Shop", "Shop.Example.org", NOW)

    assert re.fullmatch(r"site_[0-9A-Za-z]{12}", made.site_id)
    assert str(uuid.UUID(made.website_id)) == made.website_id
    assert str(uuid.UUID(made.token)) == made.token != made.website_id
    assert (made.name, made.domain, made.timezone, made.public) == ("Shop", "shop.example.org", "UTC", False)
    assert project(metadata, made.id) == made


def test_project_is_found_by_name_and_keeps_what_it_had(metadata: Metadata, account_id: int) -> None:
    made = ensure_project(metadata, account_id, "Shop", "shop.example.org", NOW, "Europe/Berlin")

    assert ensure_project(metadata, account_id, " Shop ", "other.example.org", NOW, "Asia/Tokyo") == made


def test_another_name_or_account_is_another_project(metadata: Metadata, account_id: int) -> None:
    other_account = add_account(metadata, "other@example.org")
    first = ensure_project(metadata, account_id, "Shop", None, NOW)
    second = ensure_project(metadata, account_id, "shop", None, NOW)
    foreign = ensure_project(metadata, other_account, "Shop", None, NOW)

    assert list_projects(metadata, account_id) == [first, second]
    assert list_projects(metadata, other_account) == [foreign]
    assert list_projects(metadata, None) == [first, second, foreign]
    assert known_project_ids(metadata) == {first.id, second.id, foreign.id}


@pytest.mark.parametrize("domain", [None, "", "  "])
def test_without_a_domain_the_name_stands_for_it(metadata: Metadata, account_id: int, domain: str | None) -> None:
    assert ensure_project(metadata, account_id, "Shop", domain, NOW).domain == "Shop"


def test_number_of_a_deleted_project_is_never_given_again(metadata: Metadata, account_id: int) -> None:
    deleted = ensure_project(metadata, account_id, "Old", None, NOW)
    with metadata.write() as connection:
        connection.execute(delete(kept).where(kept.c.project_id == deleted.id))
        connection.execute(delete(projects).where(projects.c.id == deleted.id))

    assert ensure_project(metadata, account_id, "New", None, NOW).id > deleted.id
    assert project(metadata, deleted.id) is None


def test_unknown_account_is_not_found(metadata: Metadata) -> None:
    with pytest.raises(NotFound, match="no account 99"):
        ensure_project(metadata, 99, "Shop", None, NOW)


@pytest.mark.parametrize("timezone", ["", "Mars/Olympus", "../../etc/passwd", "UTC+1"])
def test_zone_that_is_none_is_refused(metadata: Metadata, account_id: int, timezone: str) -> None:
    with pytest.raises(ValueError, match="is no IANA time zone"):
        ensure_project(metadata, account_id, "Shop", None, NOW, timezone)


@pytest.mark.parametrize("name", ["", "   ", "a\0b", "x" * 256])
def test_impossible_name_is_refused(metadata: Metadata, account_id: int, name: str) -> None:
    with pytest.raises(ValueError, match="project name"):
        ensure_project(metadata, account_id, name, None, NOW)
