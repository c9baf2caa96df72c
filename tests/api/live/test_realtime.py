"""Encoded answers: made once per change, and dressed for the lane."""

from typing import Any

import msgspec

from api.live.realtime import Answers
from api.live.view import LiveView
from schemas.live import LiveMessage
from tests.api.live.messages import slot, status

NOW = 1_800_000_005.0


class Clock:
    def __init__(self) -> None:
        self.seconds = NOW

    def __call__(self) -> float:
        return self.seconds


def polled(*messages: LiveMessage) -> tuple[LiveView, Clock, Answers]:
    view, clock = LiveView(), Clock()
    for message in messages:
        view.apply(message)
    return view, clock, Answers(view, lambda _: b"[]", clock)


def decoded(body: bytes) -> Any:
    return msgspec.json.decode(body)


def test_an_answer_has_the_keys_of_the_contract() -> None:
    _, _, answers = polled(status(int(NOW * 1000)), slot(int(NOW), ids=["a"]))
    answer = answers.get(1, 5)
    assert set(decoded(answer.body)) == {
        *("activeUsers", "events", "pageviews", "perMinute", "topEvents", "topPaths", "topReferrers", "topCountries"),
        *("recent", "asOf", "error", "state", "ageSeconds"),
    }
    assert decoded(answer.body)["asOf"] == "2027-01-15T08:00:05.000Z"
    assert decoded(answer.body)["error"] == 0.0163
    headers = dict(answer.headers)
    assert headers[b"content-length"] == b"%d" % len(answer.body)
    assert headers[b"streamgauge-watermark"] == b"2027-01-15T08:00:05.000Z"
    assert headers[b"streamgauge-accuracy"] == b"sketch; error=0.016"
    assert headers[b"etag"] == answer.tag


def test_bytes_are_reused_and_a_change_shows_a_tenth_of_a_second_later() -> None:
    view, clock, answers = polled(status(int(NOW * 1000)), slot(int(NOW)))
    first = answers.get(1, 5)
    view.apply(slot(int(NOW), position=2, events={"click": 7}))
    assert answers.get(1, 5) is first
    clock.seconds += 0.1
    second = answers.get(1, 5)
    assert decoded(second.body)["events"] == 7
    assert second.tag != first.tag


def test_the_tag_stays_while_only_the_age_changes() -> None:
    view, clock, answers = polled(status(int(NOW * 1000)), slot(int(NOW)))
    first = answers.get(1, 5)
    clock.seconds += 1
    view.apply(status(int(NOW * 1000) + 1000))
    second = answers.get(1, 5)
    assert decoded(first.body)["asOf"] != decoded(second.body)["asOf"]
    assert second.tag == first.tag


def test_the_tag_changes_with_the_state() -> None:
    _, clock, answers = polled(status(int(NOW * 1000)), slot(int(NOW)))
    first = answers.get(1, 5)
    clock.seconds += 6
    second = answers.get(1, 5)
    assert decoded(second.body)["state"] == "stale"
    assert second.tag != first.tag


def test_figures_leave_the_window_though_nothing_arrives() -> None:
    view, clock, answers = polled(status(int(NOW * 1000)), slot(int(NOW), ids=["a"]))
    first = answers.get(1, 5)
    clock.seconds += 40
    view.apply(status(int(NOW * 1000) + 40_000))
    second = answers.get(1, 5)
    assert decoded(first.body)["activeUsers"]["30s"] == 1
    assert decoded(second.body)["activeUsers"] == {"30s": 0, "5m": 1, "30m": 1}
    assert second.tag != first.tag


def test_tags_are_the_same_in_every_process() -> None:
    messages: list[LiveMessage] = [status(int(NOW * 1000)), slot(int(NOW), ids=["a"])]
    assert polled(*messages)[2].get(1, 5).tag == polled(*messages)[2].get(1, 5).tag


def test_new_events_of_the_list_change_the_answer() -> None:
    view, clock, lists = LiveView(), Clock(), [b"null"]
    answers = Answers(view, lambda _: lists[0], clock)
    first = answers.get(1, 5)
    assert decoded(first.body)["recent"] is None
    lists[0] = b'[{"event":"click"}]'
    clock.seconds += 0.1
    second = answers.get(1, 5)
    assert decoded(second.body)["recent"] == [{"event": "click"}]
    assert second.tag != first.tag


def test_many_polled_projects_are_answered_less_often_but_once_a_second() -> None:
    _, clock, answers = polled(status(int(NOW * 1000)))
    for project in range(2000):
        answers.get(project, 5)
    first = answers.get(1999, 5)
    clock.seconds += 0.9
    assert answers.get(1999, 5) is first
    clock.seconds += 0.1
    assert answers.get(1999, 5) is not first


def test_projects_that_nobody_polls_any_more_are_forgotten() -> None:
    _, clock, answers = polled(status(int(NOW * 1000)))
    for project in range(500):
        answers.get(project, 5)
    clock.seconds += 30
    answers.get(1, 5)
    assert len(answers._entries) == 1
