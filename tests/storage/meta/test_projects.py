"""Projects: one row, many ids."""

import re
import uuid
from datetime import timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import delete

from schemas.projects import Dialect, ProjectSettings, Role, Scope
from storage.errors import Conflict, NotFound
from storage.meta.activities import COMMAND_LINE, ActivityFilter, list_activities
from storage.meta.engine import Metadata
from storage.meta.keycache import KeyCache
from storage.meta.keys import KeySpec, create_key, find_key
from storage.meta.models import kept, projects
from storage.meta.projects import (
    TRASH,
    NewProject,
    ProjectChange,
    create_project,
    delete_project,
    deleted_project,
    deleted_projects,
    ensure_project,
    find_project,
    finish_purge,
    known_project_ids,
    list_projects,
    project,
    projects_to_purge,
    restore_project,
    rotate_token,
    update_project,
)
from storage.meta.team import Invited, invite, list_invitations
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


BY = COMMAND_LINE
SETTINGS = ProjectSettings(("/admin",), ("ref",), 30, ("https://shop.example",))


def test_created_project_is_the_only_one_of_its_name_or_domain(metadata: Metadata, account_id: int) -> None:
    new = NewProject("Shop", "shop.example", "Europe/Berlin", True, SETTINGS)
    made = create_project(metadata, account_id, new, BY, NOW, ("name", "domain"))

    assert (made.domain, made.timezone, made.public, made.settings) == ("shop.example", "Europe/Berlin", True, SETTINGS)
    assert (made.created_at, made.deleted_at) == (NOW, None)
    with pytest.raises(Conflict, match="with this name"):
        create_project(metadata, account_id, NewProject(" Shop", "other.example"), BY, NOW)
    with pytest.raises(Conflict, match="with this domain"):
        create_project(metadata, account_id, NewProject("Other", "SHOP.example"), BY, NOW, ("domain",))
    create_project(metadata, account_id, NewProject("Other", "shop.example"), BY, NOW)
    create_project(metadata, add_account(metadata, "other@example.org"), new, BY, NOW, ("name", "domain"))
    with pytest.raises(NotFound):
        create_project(metadata, 99, new, BY, NOW)


def test_two_at_once_make_one(metadata: Metadata, account_id: int) -> None:
    barrier = Barrier(2)
    outcomes: list[str] = []

    def make() -> None:
        barrier.wait()
        try:
            create_project(metadata, account_id, NewProject("Shop"), BY, NOW)
            outcomes.append("made")
        except Conflict:
            outcomes.append("refused")

    threads = [Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["made", "refused"]
    assert len(list_projects(metadata, account_id)) == 1


def test_change_touches_what_it_names(metadata: Metadata, account_id: int) -> None:
    made = create_project(metadata, account_id, NewProject("Shop"), BY, NOW)
    create_project(metadata, account_id, NewProject("Blog"), BY, NOW)
    what = ProjectChange(" Store ", "Store.example", "Asia/Tokyo", True, SETTINGS)
    changed = update_project(metadata, made.id, what, BY, NOW)

    assert project(metadata, made.id) == changed
    assert (changed.name, changed.domain, changed.timezone) == ("Store", "store.example", "Asia/Tokyo")
    assert (changed.public, changed.settings) == (True, SETTINGS)
    assert (changed.site_id, changed.token, changed.created_at) == (made.site_id, made.token, made.created_at)
    assert update_project(metadata, made.id, ProjectChange(), BY, NOW) == changed
    assert update_project(metadata, made.id, ProjectChange(name="Store"), BY, NOW) == changed
    with pytest.raises(Conflict):
        update_project(metadata, made.id, ProjectChange(name="Blog"), BY, NOW)
    with pytest.raises(NotFound):
        update_project(metadata, 99, ProjectChange(name="x"), BY, NOW)
    [told] = list_activities(metadata, account_id, ActivityFilter(action="site.updated"), limit=10).items
    assert told.activity.metadata == {"changed": ["domain", "name", "public", "settings", "timezone"]}


@pytest.mark.parametrize(
    "settings",
    [
        ProjectSettings(retention_days=0),
        ProjectSettings(retention_days=36_501),
        ProjectSettings(exclude_paths=("",)),
        ProjectSettings(ignore_params=("a\0b",)),
        ProjectSettings(allowed_origins=("x" * 256,)),
        ProjectSettings(exclude_paths=("/a",) * 101),
    ],
)
def test_impossible_settings_are_refused(metadata: Metadata, account_id: int, settings: ProjectSettings) -> None:
    made = create_project(metadata, account_id, NewProject("Shop"), BY, NOW)
    with pytest.raises(ValueError, match=r"retentionDays|at most 100 texts"):
        update_project(metadata, made.id, ProjectChange(settings=settings), BY, NOW)


def test_deleted_project_waits_in_the_trash_with_its_keys(metadata: Metadata, account_id: int) -> None:
    shop, blog = (create_project(metadata, account_id, NewProject(name), BY, NOW) for name in ("Shop", "Blog"))
    key = create_key(metadata, KeySpec(account_id, Dialect.JCHT, Scope.INGEST, shop.id), NOW)
    cache = KeyCache(metadata, lambda: NOW.timestamp())
    opened = cache.resolve(key.secret)
    sends = cache.resolve_token(shop.token)
    assert opened is not None
    assert sends is not None
    deleted = delete_project(metadata, shop.id, BY, NOW)

    assert (deleted.deleted_at, deleted.purge_at) == (NOW, NOW + TRASH)
    assert list_projects(metadata, account_id) == [blog]
    assert project(metadata, shop.id) is None
    assert find_project(metadata, "site_id", shop.site_id) is None
    assert find_project(metadata, "website_id", shop.website_id) is None
    assert find_project(metadata, "token", shop.token) is None
    assert (cache.peek(key.secret), cache.resolve(key.secret), cache.resolve_token(shop.token)) == (None, None, None)
    assert find_key(metadata, key.secret, NOW) is None
    assert known_project_ids(metadata) == {shop.id, blog.id}, "its events may come back"
    assert deleted_projects(metadata, account_id, NOW) == [deleted]
    for reference in (str(shop.id), shop.site_id, shop.website_id):
        assert deleted_project(metadata, reference) == deleted
    assert deleted_project(metadata, blog.site_id) is None
    with pytest.raises(NotFound):
        delete_project(metadata, shop.id, BY, NOW)
    with pytest.raises(NotFound, match="no project"):
        create_key(metadata, KeySpec(account_id, Dialect.JCHT, project_id=shop.id), NOW)

    assert restore_project(metadata, shop.id, BY, NOW + TRASH - timedelta(seconds=1)) == shop
    assert (cache.resolve(key.secret), cache.resolve_token(shop.token)) == (opened, sends)
    with pytest.raises(NotFound):
        restore_project(metadata, shop.id, BY, NOW)


def test_last_project_of_the_account_stays(metadata: Metadata, account_id: int) -> None:
    create_project(metadata, add_account(metadata, "other@example.org"), NewProject("Foreign"), BY, NOW)
    shop, blog = (create_project(metadata, account_id, NewProject(name), BY, NOW) for name in ("Shop", "Blog"))
    delete_project(metadata, shop.id, BY, NOW)
    with pytest.raises(Conflict, match="last project cannot be deleted"):
        delete_project(metadata, blog.id, BY, NOW)


def test_two_deletions_at_once_leave_one(metadata: Metadata, account_id: int) -> None:
    both = [create_project(metadata, account_id, NewProject(name), BY, NOW) for name in ("Shop", "Blog")]
    barrier = Barrier(2)
    refused: list[int] = []

    def delete_one(number: int) -> None:
        barrier.wait()
        try:
            delete_project(metadata, both[number].id, BY, NOW)
        except Conflict:
            refused.append(number)

    threads = [Thread(target=delete_one, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert list_projects(metadata, account_id) == [both[refused[0]]]


def test_name_taken_meanwhile_stops_a_restore(metadata: Metadata, account_id: int) -> None:
    shop, _ = (create_project(metadata, account_id, NewProject(name), BY, NOW) for name in ("Shop", "Blog"))
    delete_project(metadata, shop.id, BY, NOW)
    assert ensure_project(metadata, account_id, "Shop", None, NOW).id != shop.id
    with pytest.raises(Conflict):
        restore_project(metadata, shop.id, BY, NOW)


def test_purge_ends_what_the_trash_kept(metadata: Metadata, account_id: int) -> None:
    shop, blog, last = (create_project(metadata, account_id, NewProject(name), BY, NOW) for name in "abc")
    create_key(metadata, KeySpec(account_id, Dialect.JCHT, project_id=shop.id), NOW)
    invite(metadata, Invited(account_id, "eve@example.org", Role.VIEWER, shop.id), BY, NOW)
    delete_project(metadata, shop.id, BY, NOW)
    delete_project(metadata, blog.id, BY, NOW, keep=timedelta(0))
    assert projects_to_purge(metadata, NOW - timedelta(seconds=1)) == []
    assert projects_to_purge(metadata, NOW) == [blog.id]
    assert projects_to_purge(metadata, NOW + TRASH) == [shop.id, blog.id]
    with pytest.raises(NotFound, match="time to restore this project is over"):
        restore_project(metadata, blog.id, BY, NOW)
    assert deleted_projects(metadata, account_id, NOW + TRASH) == []

    for _ in range(2):
        finish_purge(metadata, shop.id, NOW + TRASH)
        finish_purge(metadata, last.id, NOW + TRASH)  # which nobody deleted
    assert projects_to_purge(metadata, NOW + TRASH) == [blog.id]
    assert known_project_ids(metadata) == {blog.id, last.id}
    assert deleted_project(metadata, shop.site_id) is None
    assert list_invitations(metadata, account_id, NOW) == []
    with pytest.raises(NotFound):
        restore_project(metadata, shop.id, BY, NOW)
    told = list_activities(metadata, account_id, ActivityFilter(action="site.purged"), limit=10)
    assert told.total == 1
    assert create_project(metadata, account_id, NewProject("a"), BY, NOW).id > last.id


def test_rotated_token_is_the_only_one(metadata: Metadata, account_id: int) -> None:
    shop = create_project(metadata, account_id, NewProject("Shop"), BY, NOW)
    cache = KeyCache(metadata)
    other = KeyCache(metadata)
    assert cache.peek_token(shop.token) is None
    key = cache.resolve_token(shop.token)
    assert key is not None
    assert (key.project_id, key.account_id, key.scope, key.kind) == (shop.id, account_id, Scope.INGEST, "token")
    assert (cache.peek_token(shop.token.upper()), other.resolve_token(shop.token)) == (key, key)
    assert cache.resolve(shop.token) is None, "a token is no key"

    changed = rotate_token(metadata, shop.id, BY, NOW)
    for one in (cache, other):
        assert (one.peek_token(shop.token), one.resolve_token(shop.token)) == (None, None)
        assert one.resolve_token(changed.token) is not None
    for guess in ("", "\0", "é", "x" * 40):
        assert cache.resolve_token(guess) is None
    with pytest.raises(NotFound):
        rotate_token(metadata, 99, BY, NOW)


def test_key_is_no_token(metadata: Metadata, account_id: int) -> None:
    key = create_key(metadata, KeySpec(account_id, Dialect.COHORLY), NOW)
    cache = KeyCache(metadata)
    assert cache.resolve(key.secret) is not None
    assert cache.resolve_token(key.secret) is None
