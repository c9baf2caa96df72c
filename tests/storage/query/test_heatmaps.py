"""Clicks of a page, held against plain Python."""

import random
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.heatmaps import ClickKind, ClickPlace, ClicksAnswer, ClicksQuestion, HeatmapQuestion
from schemas.rows import Row, WebFields
from schemas.selection import Selection
from storage.query.engine import Cursor
from storage.query.heatmaps import answer_clicks, answer_heatmap
from storage.query.lake import Lake
from tests.factories import LakeWriter, event_row
from tests.oracle_clicks import clicks_of, places_of
from tests.storage.query.asking import asking, span_of

START = datetime(2026, 2, 20, 10, tzinfo=UTC)
SPAN = span_of("2026-02-20", "2026-02-20")
PAGE = "/shop"
KINDS: tuple[ClickKind, ...] = ("elements", "rage", "dead")


def click(millis: int, person: str = "ann", path: str = PAGE, device: str = "desktop", **said: Any) -> Row:
    at = START + timedelta(milliseconds=millis)
    row = event_row(at, person, "$heatmap", properties=_json({"action": "click"} | said), is_system=True)
    return msgspec.structs.replace(row, web=WebFields(path=path, device=device))


def act(millis: int, person: str = "ann", event: str = "pageview", *, is_system: bool = False) -> Row:
    row = event_row(START + timedelta(milliseconds=millis), person, event, is_system=is_system)
    return msgspec.structs.replace(row, web=WebFields(path="/next"))


def clicked(directory: Path, rows: list[Row], kind: ClickKind, device: str | None = None) -> ClicksAnswer:
    question = ClicksQuestion(Selection(1, SPAN), PAGE, kind, device)
    if not (directory / "events").exists():
        LakeWriter(directory).append(rows)
    with asking(directory) as ask:
        return ask(partial(_answered, question))


def _answered(question: ClicksQuestion, cursor: Cursor, lake: Lake) -> ClicksAnswer:
    return answer_clicks(cursor, lake, question, {})


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)


def test_five_clicks_within_a_second_are_rage(tmp_path: Path) -> None:
    rows = [click(250 * step, element="a#buy", text="Buy", x=10, y=20 + step) for step in range(5)]
    rows += [click(10_000 + 251 * step, element="a#help", x=1, y=1) for step in range(5)]  # a little too slow
    rows += [click(20_000 + 100 * step, person, element="a#buy", text="Buy") for step in range(4) for person in "xy"]
    answer = clicked(tmp_path, rows, "rage")
    assert answer.places == (ClickPlace("a#buy", "Buy", 10, 22, 5, 1, 1, 5),)
    assert (answer.total, answer.found) == (18, 5)


@pytest.mark.parametrize(("clicks", "severity"), [(5, "low"), (6, "medium"), (9, "medium"), (10, "high")])
def test_how_hard_a_burst_was(tmp_path: Path, clicks: int, severity: str) -> None:
    answer = clicked(tmp_path, [click(90 * step, x=5, y=5) for step in range(clicks)], "rage")
    assert [(place.longest, place.severity) for place in answer.places] == [(clicks, severity)]


def test_a_second_of_rest_ends_a_burst(tmp_path: Path) -> None:
    first = [click(200 * step, element="b") for step in range(6)]
    again = [click(1000 + 1001 + 200 * step, element="b") for step in range(5)]
    [place] = clicked(tmp_path, first + again, "rage").places
    assert (place.clicks, place.bursts, place.longest) == (11, 2, 6)


def test_pages_that_send_in_batches_say_when_each_click_was(tmp_path: Path) -> None:
    rows = [click(0, element="slow", timestamp=1_700_000_000_000 + 2000 * step) for step in range(9)]
    rows += [click(60_000, element="fast", timestamp=1_700_000_000_000 + 100 * step) for step in range(9)]
    assert [place.element for place in clicked(tmp_path, rows, "rage").places] == ["fast"]


def test_a_click_is_dead_if_nothing_follows(tmp_path: Path) -> None:
    rows = [click(0, element="link"), act(3000)]
    rows += [click(10_000, element="late"), act(13_001)]
    rows += [click(20_000, element="stranger"), act(20_100, "bob")]
    rows += [click(30_000, element="presence"), act(30_100, event="$heartbeat", is_system=True)]
    rows += [click(40_000, element="button"), act(40_500, event="added to cart")]
    answer = clicked(tmp_path, rows, "dead")
    assert {place.element for place in answer.places} == {"late", "stranger", "presence"}
    assert (answer.total, answer.found) == (5, 3)


def test_a_device_and_a_page_of_nobody(tmp_path: Path) -> None:
    rows = [click(0, device="mobile", element="m"), click(0, element="d"), click(0, path="/other", element="o")]
    assert [place.element for place in clicked(tmp_path, rows, "elements", "mobile").places] == ["m"]
    empty = clicked(tmp_path, rows, "rage")
    assert (empty.total, empty.found, empty.places) == (2, 0, ())


def test_what_is_no_number_and_no_place(tmp_path: Path) -> None:
    odd: list[dict[str, Any]] = [
        {"x": 1e300, "y": -1e300, "viewportWidth": 1e300, "viewportHeight": 0, "timestamp": 9e18, "depth": 1e9},
        {"x": "nan", "y": "inf", "depth": "nan", "timestamp": "x"},
        {"x": None, "y": [1], "element": {"a": 1}, "text": 7, "depth": -1},
    ]
    rows = [click(step, **said) for step, said in enumerate(odd)]
    for kind in KINDS:
        assert clicked(tmp_path, rows, kind).total == 3
    with asking(tmp_path) as ask:
        question = HeatmapQuestion(Selection(1, SPAN), PAGE, "click")
        answer = ask(lambda cursor, lake: answer_heatmap(cursor, lake, question, {}))
    assert (answer.total, answer.spots, answer.bands, answer.viewport, answer.mean_depth) == (3, (), (), None, 0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_places_agree_with_plain_python(tmp_path: Path, seed: int, kind: ClickKind) -> None:
    draw = random.Random(seed)
    rows: list[Row] = []
    for _ in range(600):
        at, person = draw.randrange(0, 24_000, 6000) + draw.randrange(0, 2500, 50), draw.choice(["a", "b", "c", ""])
        if draw.random() < 0.1:
            rows.append(act(at, person, draw.choice(["pageview", "bought"]), is_system=draw.random() < 0.3))
            continue
        said: dict[str, Any] = {"x": draw.choice([-60, 20, 40]), "y": draw.choice([0, 30])}
        if draw.random() < 0.6:
            said["element"] = draw.choice(["a#buy", "p"])
        if draw.random() < 0.5:
            said["text"] = draw.choice(["Buy", "Buy", "More"])
        if draw.random() < 0.2:
            said["timestamp"] = 1_771_581_600_000 + draw.randrange(0, 60_000, 50)
        rows.append(click(at, person, draw.choice([PAGE, PAGE, PAGE, "/other"]), **said))
    draw.shuffle(rows)
    answer = clicked(tmp_path, rows, kind)
    expected = places_of(rows, PAGE, kind)
    assert expected
    assert list(answer.places) == expected
    assert answer.total == len(clicks_of(rows, PAGE))
    assert answer.found == sum(place.clicks for place in expected)
