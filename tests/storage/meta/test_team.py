"""Roles, and invitations to them."""

from datetime import timedelta

import pytest

from schemas.projects import Role
from storage.errors import Conflict, NotFound, Refused
from storage.meta.accounts import Account, ProfileChange, account, check_password, ensure_account
from storage.meta.activities import ActivityFilter, Actor, list_activities
from storage.meta.engine import Metadata
from storage.meta.projects import delete_project, ensure_project, restore_project
from storage.meta.team import (
    INVITATION_LIFETIME,
    Invited,
    accept_invitation,
    decline_invitation,
    find_invitation,
    find_reachable,
    invite,
    join_with_password,
    list_invitations,
    list_members,
    reachable_projects,
    remove_member,
    role_in,
    role_on,
    set_role,
    withdraw_invitation,
)
from tests.storage.meta.conftest import NOW, add_account

BY = Actor()


@pytest.fixture
def eve(metadata: Metadata) -> Account:
    found = account(metadata, add_account(metadata, "eve@example.org"))
    assert found is not None
    return found


def join(metadata: Metadata, account_id: int, person: Account, role: Role, project_id: int | None = None) -> None:
    secret = invite(metadata, Invited(account_id, person.email, role, project_id), BY, NOW).secret
    accept_invitation(metadata, secret, person, BY, NOW)


def test_ranks() -> None:
    assert [role for role in Role if role.includes(Role.MEMBER)] == [Role.MEMBER, Role.ADMIN, Role.OWNER]


def test_owner_needs_no_row_and_stranger_has_none(metadata: Metadata, account_id: int, eve: Account) -> None:
    shop = ensure_project(metadata, account_id, "Shop", None, NOW)
    assert role_on(metadata, account_id, shop) is Role.OWNER
    assert role_in(metadata, account_id, account_id) is Role.OWNER
    assert role_on(metadata, eve.id, shop) is None
    assert role_in(metadata, eve.id, account_id) is None
    assert reachable_projects(metadata, eve.id) == []


def test_role_for_all_and_role_for_one(metadata: Metadata, account_id: int, eve: Account) -> None:
    shop, blog = (ensure_project(metadata, account_id, name, None, NOW) for name in ("Shop", "Blog"))
    own = ensure_project(metadata, eve.id, "Own", None, NOW)
    join(metadata, account_id, eve, Role.ADMIN, shop.id)
    assert (role_on(metadata, eve.id, shop), role_on(metadata, eve.id, blog)) == (Role.ADMIN, None)
    assert role_in(metadata, eve.id, account_id) is None
    assert reachable_projects(metadata, eve.id) == [(own, Role.OWNER), (shop, Role.ADMIN)]

    join(metadata, account_id, eve, Role.VIEWER)
    assert (role_on(metadata, eve.id, shop), role_on(metadata, eve.id, blog)) == (Role.ADMIN, Role.VIEWER)
    assert role_in(metadata, eve.id, account_id) is Role.VIEWER
    assert reachable_projects(metadata, eve.id) == [(own, Role.OWNER), (shop, Role.ADMIN), (blog, Role.VIEWER)]
    assert reachable_projects(metadata, account_id) == [(shop, Role.OWNER), (blog, Role.OWNER)]


def test_project_is_reached_by_any_of_its_ids(metadata: Metadata, account_id: int, eve: Account) -> None:
    shop = ensure_project(metadata, account_id, "Shop", None, NOW)
    for reference in (str(shop.id), shop.site_id, shop.website_id, shop.website_id.upper()):
        assert find_reachable(metadata, reference, account_id) == (shop, Role.OWNER)
        assert find_reachable(metadata, reference, eve.id) == (shop, None)
    for reference in ("", "0", "9" * 30, "site_", "site_\0", "\0", shop.token, shop.domain, "é"):
        assert find_reachable(metadata, reference, account_id) is None


def test_deleted_project_is_out_of_reach(metadata: Metadata, account_id: int, eve: Account) -> None:
    shop, _ = (ensure_project(metadata, account_id, name, None, NOW) for name in ("Shop", "Blog"))
    join(metadata, account_id, eve, Role.VIEWER, shop.id)
    delete_project(metadata, shop.id, BY, NOW)
    assert reachable_projects(metadata, eve.id) == []
    assert find_reachable(metadata, str(shop.id), account_id) is None
    restore_project(metadata, shop.id, BY, NOW)
    assert reachable_projects(metadata, eve.id) == [(shop, Role.VIEWER)]


def test_members_are_listed_by_project(metadata: Metadata, account_id: int, eve: Account) -> None:
    shop, blog = (ensure_project(metadata, account_id, name, None, NOW) for name in ("Shop", "Blog"))
    join(metadata, account_id, eve, Role.ADMIN, shop.id)

    def listed(project_id: int | None) -> list[tuple[str, Role, int | None]]:
        found = list_members(metadata, account_id, project_id)
        return [(member.person.email, member.role, member.project_id) for member in found]

    owner = ("owner@example.org", Role.OWNER, None)
    assert listed(None) == listed(shop.id) == [owner, ("eve@example.org", Role.ADMIN, shop.id)]
    assert listed(blog.id) == [owner]


def test_roles_change_and_end(metadata: Metadata, account_id: int, eve: Account) -> None:
    shop = ensure_project(metadata, account_id, "Shop", None, NOW)
    join(metadata, account_id, eve, Role.VIEWER, shop.id)
    assert set_role(metadata, account_id, eve.user_id, shop.id, Role.MEMBER, BY, NOW).role is Role.MEMBER
    assert role_on(metadata, eve.id, shop) is Role.MEMBER
    with pytest.raises(NotFound):
        set_role(metadata, account_id, eve.user_id, None, Role.ADMIN, BY, NOW)
    with pytest.raises(NotFound):
        remove_member(metadata, account_id, eve.user_id, None, BY, NOW)
    remove_member(metadata, account_id, eve.user_id, shop.id, BY, NOW)
    assert role_on(metadata, eve.id, shop) is None
    for user_id in (eve.user_id, "user_000000000000", ""):
        with pytest.raises(NotFound, match="no member has this id"):
            remove_member(metadata, account_id, user_id, shop.id, BY, NOW)


def test_owner_is_untouchable_and_alone(metadata: Metadata, account_id: int, eve: Account) -> None:
    owner = account(metadata, account_id)
    assert owner is not None
    with pytest.raises(Refused, match="role cannot be changed"):
        set_role(metadata, account_id, owner.user_id, None, Role.VIEWER, BY, NOW)
    with pytest.raises(Refused, match="cannot be removed"):
        remove_member(metadata, account_id, owner.user_id, None, BY, NOW)
    with pytest.raises(Refused, match="one owner"):
        set_role(metadata, account_id, eve.user_id, None, Role.OWNER, BY, NOW)
    with pytest.raises(Refused, match="one owner"):
        invite(metadata, Invited(account_id, eve.email, Role.OWNER), BY, NOW)
    with pytest.raises(Conflict, match="in the team already"):
        invite(metadata, Invited(account_id, owner.email, Role.VIEWER), BY, NOW)


def test_invitation_is_open_for_seven_days(metadata: Metadata, account_id: int, eve: Account) -> None:
    made = invite(metadata, Invited(account_id, " EVE@example.org", Role.VIEWER, message="hi"), Actor(account_id), NOW)
    assert made.secret not in repr(made)
    assert made.invitation.id.startswith("invite_")
    assert (made.invitation.email, made.invitation.inviter_id) == (eve.email, account_id)
    assert made.invitation.expires_at == NOW + timedelta(days=7)
    assert find_invitation(metadata, made.secret) == made.invitation
    assert find_invitation(metadata, "guess") is None
    assert list_invitations(metadata, account_id, NOW) == [made.invitation]
    late = NOW + INVITATION_LIFETIME
    assert list_invitations(metadata, account_id, late) == []
    assert made.invitation.is_open(late - timedelta(seconds=1))
    assert not made.invitation.is_open(late)
    with pytest.raises(NotFound):
        accept_invitation(metadata, made.secret, eve, BY, late)
    assert role_in(metadata, eve.id, account_id) is None


def test_accepted_invitation_verifies_the_address_and_is_used_up(
    metadata: Metadata, account_id: int, eve: Account
) -> None:
    secret = invite(metadata, Invited(account_id, eve.email, Role.VIEWER), BY, NOW).secret
    accept_invitation(metadata, secret, eve, BY, NOW)
    found = account(metadata, eve.id)
    assert found is not None
    assert found.email_verified_at == NOW
    told = find_invitation(metadata, secret)
    assert told is not None
    assert told.accepted_at == NOW
    for again in (accept_invitation, lambda *rest: decline_invitation(rest[0], rest[1], eve.email, *rest[3:])):
        with pytest.raises(NotFound):
            again(metadata, secret, eve, BY, NOW)
    with pytest.raises(Conflict):
        invite(metadata, Invited(account_id, eve.email, Role.ADMIN), BY, NOW)


def test_invitation_of_another_address_changes_nothing(metadata: Metadata, account_id: int, eve: Account) -> None:
    secret = invite(metadata, Invited(account_id, "bob@example.org", Role.VIEWER), BY, NOW).secret
    with pytest.raises(Refused, match="different e-mail address"):
        accept_invitation(metadata, secret, eve, BY, NOW)
    with pytest.raises(Refused):
        decline_invitation(metadata, secret, eve.email, BY, NOW)
    assert len(list_invitations(metadata, account_id, NOW)) == 1


def test_newer_invitation_replaces_the_older_of_its_kind(metadata: Metadata, account_id: int, eve: Account) -> None:
    shop = ensure_project(metadata, account_id, "Shop", None, NOW)
    for_all = invite(metadata, Invited(account_id, eve.email, Role.VIEWER), BY, NOW)
    first = invite(metadata, Invited(account_id, eve.email, Role.VIEWER, shop.id), BY, NOW)
    second = invite(metadata, Invited(account_id, eve.email, Role.ADMIN, shop.id), BY, NOW)
    ids = {one.id for one in list_invitations(metadata, account_id, NOW)}
    assert ids == {for_all.invitation.id, second.invitation.id}
    with pytest.raises(NotFound):
        accept_invitation(metadata, first.secret, eve, BY, NOW)


def test_withdrawn_invitation_ends(metadata: Metadata, account_id: int, eve: Account) -> None:
    made = invite(metadata, Invited(account_id, eve.email, Role.VIEWER), BY, NOW)
    with pytest.raises(NotFound):
        withdraw_invitation(metadata, eve.id, made.invitation.id, BY, NOW)
    withdraw_invitation(metadata, account_id, made.invitation.id, BY, NOW)
    with pytest.raises(NotFound):
        withdraw_invitation(metadata, account_id, made.invitation.id, BY, NOW)
    with pytest.raises(NotFound):
        accept_invitation(metadata, made.secret, eve, BY, NOW)


def test_invited_stranger_makes_an_account(metadata: Metadata, account_id: int) -> None:
    secret = invite(metadata, Invited(account_id, "new@example.org", Role.MEMBER), BY, NOW).secret
    profile = ProfileChange("New", "Person")
    with pytest.raises(ValueError, match="8 to 1024"):
        join_with_password(metadata, secret, "short", profile, BY, NOW)
    with pytest.raises(NotFound):
        join_with_password(metadata, "guess", "long enough", profile, BY, NOW)
    joined = join_with_password(metadata, secret, "long enough", profile, BY, NOW)
    assert (joined.person.name, joined.role) == ("New Person", Role.MEMBER)
    assert check_password(metadata, "new@example.org", "long enough").id == joined.person.id
    with pytest.raises(NotFound):
        join_with_password(metadata, secret, "long enough", profile, BY, NOW)


def test_known_address_joins_with_its_own_password(metadata: Metadata, account_id: int) -> None:
    ensure_account(metadata, "ada@example.org", "her password", NOW)
    secret = invite(metadata, Invited(account_id, "ada@example.org", Role.MEMBER), BY, NOW).secret
    with pytest.raises(Refused):
        join_with_password(metadata, secret, "a guess of it", ProfileChange(), BY, NOW)
    assert join_with_password(metadata, secret, "her password", ProfileChange(), BY, NOW).role is Role.MEMBER


@pytest.mark.parametrize(("email", "message"), [("x", ""), ("a@b.example", "x" * 1001), ("a@b.example", "\0")])
def test_impossible_invitation_is_refused(metadata: Metadata, account_id: int, email: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"e-mail address|at most 1000"):
        invite(metadata, Invited(account_id, email, Role.VIEWER, message=message), BY, NOW)


def test_team_changes_are_told(metadata: Metadata, account_id: int, eve: Account) -> None:
    join(metadata, account_id, eve, Role.VIEWER)
    set_role(metadata, account_id, eve.user_id, None, Role.ADMIN, BY, NOW)
    remove_member(metadata, account_id, eve.user_id, None, BY, NOW)
    secret = invite(metadata, Invited(account_id, eve.email, Role.VIEWER), BY, NOW).secret
    decline_invitation(metadata, secret, eve.email, BY, NOW)
    told = list_activities(metadata, account_id, ActivityFilter(type="team"), limit=10).items
    assert [item.activity.action.partition(".")[2] for item in reversed(told)] == [
        "invited",
        "joined",
        "role_changed",
        "removed",
        "invited",
        "declined",
    ]
