"""Whatever is sent to a question, it is answered, or refused in the native form."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.routes.surface import Client, surface
from tests.factories import LakeWriter, event_row

READS = {
    "overview": ("interval",),
    "breakdowns": ("dimension", "sort", "limit", "offset", "other"),
    "metrics": ("metric", "interval", "event"),
    "events": ("event", "limit", "cursor", "userId", "sessionId", "source"),
    "events/names": ("search", "limit"),
    "events/properties": ("event", "search", "limit"),
    "events/properties/plan/values": ("search",),
    "events/export": ("format", "cursor", "skip", "event"),
    "sessions": ("userId", "limit", "cursor"),
    "users": ("search", "filters", "limit", "offset"),
    "users/u1/events": ("limit", "cursor"),
    "dead-letters": ("reason", "from", "to", "timezone", "limit", "offset"),
    "lake/files": ("table", "version"),
}
COMMON = ("from", "to", "timezone", "filters", "segmentId", "includeBots", "compare", "exact", "asOf", "projectId")
BODIES = {
    "queries/series": ("metric", "event", "interval", "breakdown", "limit"),
    "queries/funnel": ("steps", "windowSeconds", "by", "breakdown", "interval"),
    "queries/retention": ("bornEvent", "returnEvent", "interval"),
    "queries/paths": ("event", "path", "match", "direction", "dimension", "length", "limit"),
}
TEXTS = st.one_of(
    st.sampled_from(
        [
            *("", "0", "-1", "1", "99999999999999999999", "true", "day", "hour", "month", "path", "event", "entryPath"),
            *(
                "2026-03-22",
                "2026-03-23T10:00:00+02:00",
                "0001-03-01",
                "9999-11-01",
                "0000-00-00",
                "Europe/Berlin",
                "/",
            ),
            *("properties.a", "properties.", "sum:a", "p99:a", "unique", "sessions", "previous_year", "csv", "arrow"),
            *('[{"key":"path","op":"matches","value":"("}]', '[{"or":[]}]', '[{"key":"a","op":"in","value":[]}]', "[]"),
            *('[{"key":"a","op":"eq","value":1e400}]', '{"and":[' * 50, "posix/../UTC", "lkjq8Zn4"),
        ]
    ),
    st.text(st.characters(codec="utf-8"), max_size=20),
)
VALUES = st.recursive(
    st.one_of(
        TEXTS, st.none(), st.booleans(), st.integers(-5, 2**70), st.floats(allow_nan=False, allow_infinity=False)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["event", "path", "match", "goalId", "filters", "key", "op", "value"]), inner),
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    writer = LakeWriter(tmp_path_factory.mktemp("any") / "lake")
    sent = b'{"plan":"pro","a":1}'
    writer.append([event_row("2026-03-22T10:00:00", "u1", "page_view", properties=sent, session="s1")])
    with surface(writer.place) as client:
        yield client


def _judge(status: int, body: Any) -> None:
    assert status in (200, 400, 403, 404, 410), body
    if status != 200:
        assert set(body) == {"error", "message"}
        assert all(isinstance(text, str) and text for text in body.values())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_query(client: Client, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(READS)))
    names = st.sampled_from([*READS[path], *COMMON])
    params = data.draw(st.dictionaries(names, TEXTS, max_size=4))
    answer = client.get(f"/api/v1/{path}", params, {"X-API-Key": data.draw(st.sampled_from(["reader", "account"]))})
    _judge(answer.status_code, None if answer.status_code == 200 else answer.json())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_body(client: Client, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(BODIES)))
    names = st.sampled_from([*BODIES[path], *COMMON])
    body = data.draw(st.one_of(VALUES, st.dictionaries(names, VALUES, max_size=5)))
    answer = client.post(f"/api/v1/{path}", body)
    _judge(answer.status_code, None if answer.status_code == 200 else answer.json())
