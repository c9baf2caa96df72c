"""What people with a role in somebody's project may keep there."""

import pytest

from schemas.projects import Role
from tests.api.accounts.conftest import API, Person
from tests.api.accounts.test_team import join
from tests.api.routes.test_kept import BODIES, PATHS

OF_ADMINS = frozenset({"/alerts", "/webhooks", "/sources", "/shares"})


@pytest.mark.parametrize("role", [None, Role.VIEWER, Role.MEMBER, Role.ADMIN])
def test_roles(ann: Person, bob: Person, role: Role | None) -> None:
    if role is not None:
        join(ann, bob, role, ann.project.id)
    about = {"projectId": ann.project.site_id}
    for path in PATHS:
        needed = Role.ADMIN if path in OF_ADMINS else Role.MEMBER
        read = bob.client.get(f"{API}{path}", params=about)
        assert read.status_code == (403 if role is None else 200), path
        kept = bob.client.post(f"{API}{path}", params=about, json=BODIES[path])
        may = role is not None and role.includes(needed)
        assert kept.status_code == (201 if may else 403), path
        mine = ann.client.post(f"{API}{path}", params=about, json=BODIES[path]).json()["id"]
        gone = bob.client.delete(f"{API}{path}/{mine}", params=about)
        assert gone.status_code == (204 if may else 403), path


def test_who_did_it_is_in_the_log(ann: Person, bob: Person) -> None:
    join(ann, bob, "member", ann.project.id)
    about = {"projectId": ann.project.site_id}
    made = bob.client.post(f"{API}/annotations", params=about, json=BODIES["/annotations"]).json()
    assert made["createdBy"] == bob.id
    [line] = ann.client.get(f"{API}/activity", params={"type": "annotation"}).json()["data"]
    assert (line["actor"]["id"], line["target"]["id"]) == (bob.id, made["id"])
