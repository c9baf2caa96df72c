"""Kept things, on both databases."""

import secrets
from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy import select

from schemas.keeping import InvalidKept, UnknownReference
from schemas.kept import (
    OVERVIEW,
    Alert,
    Annotation,
    Dashboard,
    Delivery,
    Funnel,
    Goal,
    Segment,
    Share,
    Step,
    Webhook,
    Widget,
)
from schemas.projects import Project
from schemas.questions import InvalidQuestion
from storage.errors import Conflict, NotFound, SecretUnreadable
from storage.meta.activities import Activity, ActivityFilter, Actor, list_activities
from storage.meta.engine import Metadata
from storage.meta.kept import KeptRepository
from storage.meta.models import kept
from storage.meta.projects import NewProject, create_project, delete_project, ensure_project, finish_purge
from storage.meta.sealing import Sealer
from tests.storage.meta.conftest import NOW, add_account

LATER = NOW + timedelta(hours=1)
GOAL = Goal(name="Signed up", type="event", event="signup")
WEBHOOK = Webhook(url="https://hooks.example.org/", events=("goal",))


def no_lookahead(pattern: str) -> None:
    """As the engine judges, for one thing it does not take."""
    if "(?=" in pattern:
        raise InvalidQuestion("Invalid parameter: filters, op matches")


@pytest.fixture
def things(metadata: Metadata) -> KeptRepository:
    return KeptRepository(metadata, Sealer([secrets.token_hex(32).encode()]), no_lookahead)


@pytest.fixture
def shop(metadata: Metadata, account_id: int) -> Project:
    return ensure_project(metadata, account_id, "Shop", None, NOW)


@pytest.fixture
def other(metadata: Metadata) -> Project:
    return ensure_project(metadata, add_account(metadata, "other@example.org"), "Other", None, NOW)


@pytest.fixture
def ann(account_id: int) -> Actor:
    return Actor(account_id)


def test_life_of_a_thing(things: KeptRepository, shop: Project, ann: Actor) -> None:
    made = things.create(shop.id, GOAL, ann, NOW)
    assert made.id.startswith("goal_")
    assert (made.body, made.created_at, made.updated_at, made.created_by) == (GOAL, NOW, NOW, ann.account_id)
    assert (made.creator or "").startswith("user_")
    assert things.get(Goal, shop.id, made.id) == made
    changed = things.change(Goal, shop.id, made.id, lambda old: replace(old, value=5.5), ann, LATER)
    assert (changed.body.value, changed.created_at, changed.updated_at) == (5.5, NOW, LATER)
    assert things.get(Goal, shop.id, made.id) == changed
    assert things.delete(Goal, shop.id, made.id, ann, LATER) == changed
    assert things.get(Goal, shop.id, made.id) is None
    assert things.get(Goal, shop.id, made.id, with_deleted=True) is not None
    assert things.get_many(Goal, shop.id, [made.id, "goal_x", "\x00"]) == {made.id: changed.body}
    assert things.all(Goal, shop.id) == []
    with pytest.raises(NotFound):
        things.delete(Goal, shop.id, made.id, ann, LATER)
    with pytest.raises(NotFound):
        things.change(Goal, shop.id, made.id, lambda old: old, ann, LATER)


def test_changes_are_in_the_log(
    things: KeptRepository, metadata: Metadata, shop: Project, ann: Actor, account_id: int
) -> None:
    made = things.create(shop.id, GOAL, ann, NOW)
    things.change(Goal, shop.id, made.id, lambda old: replace(old, name="Joined"), ann, NOW)
    things.change(Goal, shop.id, made.id, lambda old: old, None, NOW)  # the service's own
    things.delete(Goal, shop.id, made.id, ann, NOW)
    with pytest.raises(InvalidKept):
        things.create(shop.id, Goal(name="", type="event", event="a"), ann, NOW)
    found = list_activities(metadata, account_id, ActivityFilter(type="goal"), limit=10)
    assert [(line.activity.action, line.activity.target_name) for line in found.items] == [
        ("goal.deleted", "Joined"),
        ("goal.updated", "Joined"),
        ("goal.created", "Signed up"),
    ]
    assert found.items[0].activity == Activity(account_id, "goal.deleted", "goal", made.id, "Joined", shop.id, {})


def test_nothing_crosses_projects_or_kinds(things: KeptRepository, shop: Project, other: Project, ann: Actor) -> None:
    mine = things.create(shop.id, GOAL, ann, NOW)
    board = things.create(shop.id, Dashboard(name="B"), ann, NOW)
    assert things.get(Goal, other.id, mine.id) is None
    assert things.get(Segment, shop.id, mine.id) is None
    assert things.all(Goal, other.id) == []
    assert things.get_many(Goal, other.id, [mine.id]) == {}
    for wrong in (
        lambda: things.change(Goal, other.id, mine.id, lambda old: old, ann, NOW),
        lambda: things.delete(Goal, other.id, mine.id, ann, NOW),
        lambda: things.delete(Segment, shop.id, mine.id, ann, NOW),
        lambda: things.create(other.id, OVERVIEW[0], ann, NOW, parent_id=board.id),
        lambda: things.create(shop.id, OVERVIEW[0], ann, NOW, parent_id=mine.id),
        lambda: things.create(shop.id, OVERVIEW[0], ann, NOW),
        lambda: things.create(999, GOAL, ann, NOW),
    ):
        with pytest.raises(NotFound):
            wrong()
    assert things.get(Goal, shop.id, mine.id) == mine


def test_pages_meet_everything_once(things: KeptRepository, shop: Project, ann: Actor) -> None:
    made = [things.create(shop.id, replace(GOAL, name=f"g{n}"), ann, NOW).id for n in range(5)]
    for newest_first, expected in ((False, made), (True, made[::-1])):
        seen: list[str] = []
        after = None
        while True:
            page = things.page(Goal, shop.id, limit=2, after=after, newest_first=newest_first)
            assert page.total == 5
            seen += [item.id for item in page.items]
            if (after := page.next) is None:
                break
        assert seen == expected
    assert [item.id for item in things.page(Goal, shop.id, limit=2, offset=3).items] == made[3:]
    for wrong in ("x", "YWJj", "===", "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA"):
        with pytest.raises(InvalidQuestion, match="Invalid parameter: cursor"):
            things.page(Goal, shop.id, limit=2, after=wrong)


def test_new_project_has_its_dashboard(things: KeptRepository, metadata: Metadata, account_id: int) -> None:
    made = create_project(metadata, account_id, NewProject("New"), Actor(account_id), NOW)
    [board] = things.all(Dashboard, made.id)
    assert (board.body.name, board.created_by) == ("Overview", None)
    assert tuple(item.body for item in things.all(Widget, made.id, parent_id=board.id)) == OVERVIEW
    assert things.counts_below(Widget, made.id) == {board.id: len(OVERVIEW)}


def test_what_is_below_goes_with_it(things: KeptRepository, shop: Project, ann: Actor) -> None:
    board = things.create(shop.id, Dashboard(name="B"), ann, NOW)
    widget = things.create(shop.id, OVERVIEW[0], ann, LATER, parent_id=board.id)
    touched = things.get(Dashboard, shop.id, board.id)
    assert touched is not None
    assert touched.updated_at == LATER
    assert things.get(Widget, shop.id, widget.id, parent_id="dash_x") is None
    things.delete(Dashboard, shop.id, board.id, ann, LATER)
    assert things.get(Widget, shop.id, widget.id) is None
    assert things.count(Widget, shop.id, parent_id=board.id) == 0


def test_secrets_are_sealed_and_gone_with_their_thing(
    things: KeptRepository, metadata: Metadata, shop: Project, other: Project, ann: Actor
) -> None:
    made = things.create(shop.id, WEBHOOK, ann, NOW, secret=b"whsec_1")
    with metadata.read() as connection:
        row = connection.execute(select(kept).where(kept.c.id == made.id)).one()
    assert b"whsec_1" not in row.sealed
    assert "whsec_1" not in repr(made) + row.body
    assert things.secret(Webhook, shop.id, made.id) == b"whsec_1"
    assert things.secret(Webhook, other.id, made.id) is None
    things.change(Webhook, shop.id, made.id, lambda old: old, ann, NOW, secret=b"whsec_2")
    assert things.secret(Webhook, shop.id, made.id) == b"whsec_2"
    stranger = KeptRepository(metadata, Sealer([secrets.token_hex(32).encode()]), no_lookahead)
    with pytest.raises(SecretUnreadable):
        stranger.secret(Webhook, shop.id, made.id)
    things.delete(Webhook, shop.id, made.id, ann, NOW)
    with metadata.read() as connection:
        assert connection.execute(select(kept.c.sealed).where(kept.c.id == made.id)).scalar_one() is None


def test_link_leads_to_its_share_until_it_or_the_project_is_deleted(
    things: KeptRepository, metadata: Metadata, account_id: int, shop: Project, ann: Actor
) -> None:
    ensure_project(metadata, account_id, "Last", None, NOW)
    first = things.create(shop.id, Share(), ann, NOW, link="one")
    second = things.create(shop.id, Share(), ann, NOW, link="two")
    assert things.find_linked(Share, "one") == first
    assert things.find_linked(Share, "three") is None
    assert things.find_linked(Goal, "one") is None
    assert things.everywhere(Share) == [first, second]
    things.delete(Share, shop.id, first.id, ann, NOW)
    assert things.find_linked(Share, "one") is None
    delete_project(metadata, shop.id, ann, NOW, timedelta())
    assert things.find_linked(Share, "two") is None
    assert things.everywhere(Share) == []
    with pytest.raises(NotFound):
        things.create(shop.id, GOAL, ann, NOW)
    finish_purge(metadata, shop.id, NOW)
    with metadata.read() as connection:
        assert connection.execute(select(kept).where(kept.c.project_id == shop.id)).all() == []


def test_what_is_named_must_be_there(things: KeptRepository, shop: Project, other: Project, ann: Actor) -> None:
    goal = things.create(shop.id, GOAL, ann, NOW)
    foreign = things.create(other.id, GOAL, None, NOW)
    stay = things.create(shop.id, Goal(name="S", type="duration", duration_seconds=30), ann, NOW)

    def funnel(goal_id: str) -> Funnel:
        return Funnel(name="F", steps=(Step(type="goal", goal_id=goal_id), Step(type="event", event="b")))

    made = things.create(shop.id, funnel(goal.id), ann, NOW)
    for missing in (foreign.id, "goal_x", made.id, "\x00"):
        with pytest.raises(UnknownReference) as wrong:
            things.create(shop.id, funnel(missing), ann, NOW)
        assert (str(wrong.value), wrong.value.kind, wrong.value.thing_id) == ("Invalid field: steps", "goal", missing)
    with pytest.raises(InvalidKept, match="Invalid field: steps"):
        things.create(shop.id, funnel(stay.id), ann, NOW)
    alert = Alert(name="A", type="threshold", metric=f"goal.{foreign.id}.completions", operator=">", threshold=1)
    with pytest.raises(UnknownReference, match="Invalid field: metric"):
        things.create(shop.id, alert, ann, NOW)
    things.delete(Goal, shop.id, goal.id, ann, NOW)
    renamed = things.change(Funnel, shop.id, made.id, lambda old: replace(old, name="H"), ann, NOW)
    assert renamed.body.name == "H"  # what it named all along may be gone
    with pytest.raises(UnknownReference):
        things.change(Funnel, shop.id, made.id, lambda _: funnel("goal_x"), ann, NOW)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (Goal(name="G", type="pageview", path="a(?=b)", match_type="regex"), "path"),
        (Segment(name="S", filters=[{"key": "path", "op": "matches", "value": "a(?=b)"}]), "filters"),
    ],
)
def test_expressions_that_the_engine_does_not_take(
    things: KeptRepository, shop: Project, ann: Actor, body: Goal | Segment, field: str
) -> None:
    with pytest.raises(InvalidKept, match=f"Invalid field: {field}"):
        things.create(shop.id, body, ann, NOW)


def test_filters_by_name(things: KeptRepository, shop: Project, other: Project, ann: Actor) -> None:
    goal = things.create(shop.id, GOAL, ann, NOW)
    segment = things.create(
        shop.id, Segment(name="S", filters=[{"key": "country", "op": "eq", "value": "DE"}]), ann, NOW
    )
    find: list[tuple[Callable[[int, str], object], str]] = [
        (things.goal_filter, goal.id),
        (things.segment_filter, segment.id),
    ]
    for finder, named in find:
        assert finder(shop.id, named) is not None
        assert finder(other.id, named) is None
        assert finder(shop.id, "x") is None


def test_there_is_an_end_to_what_is_kept(
    things: KeptRepository, shop: Project, ann: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Annotation, "most", 2)
    for day in ("2026-01-01", "2026-01-02"):
        things.create(shop.id, Annotation(date=day), ann, NOW)
    with pytest.raises(Conflict, match="at most 2 annotations"):
        things.create(shop.id, Annotation(date="2026-01-03"), ann, NOW)
    things.create(shop.id, GOAL, ann, NOW)


def test_log_keeps_its_newest_lines(things: KeptRepository, shop: Project, ann: Actor) -> None:
    first = things.create(shop.id, WEBHOOK, ann, NOW)
    second = things.create(shop.id, WEBHOOK, ann, NOW)
    things.create(shop.id, Delivery(event="other", payload="{}"), None, NOW, parent_id=second.id)
    for number in range(Delivery.newest + 3):
        things.create(shop.id, Delivery(event=f"e{number}", payload="{}"), None, NOW, parent_id=first.id)
    kept_events = [item.body.event for item in things.all(Delivery, shop.id, parent_id=first.id)]
    assert kept_events == [f"e{number}" for number in range(3, Delivery.newest + 3)]
    assert things.count(Delivery, shop.id, parent_id=second.id) == 1
