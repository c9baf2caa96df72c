"""Sending events over HTTP: what is answered, and what the log gets."""

import gzip
import json
import re
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import zstandard

from schemas.records import minted_id
from schemas.topics import partition_of
from tests.api.serving import Served, serve_fake, wait_until

EVENTS, BATCH = "/api/v1/events", "/api/v1/events/batch"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve_fake(tmp_path_factory.mktemp("data")) as served:
        yield served


@pytest.fixture
def api(running: Served) -> Iterator[Served]:
    running.producer.records.clear()
    yield running
    running.keys.is_down = False


def problem(response: httpx.Response) -> tuple[int, str, str]:
    body = response.json()
    assert set(body) >= {"error", "message"}
    assert response.headers["content-type"] == "application/json"
    return response.status_code, body["error"], body["message"]


def kept(api: Served) -> list[tuple[int, str, dict[str, Any]]]:
    """What the log has: partition, id as a worker derives it, and the event."""
    found = []
    for record in api.producer.records:
        for segment in record.segments():
            for place, line in enumerate(segment.lines):
                event = json.loads(line)
                given = segment.header.ids[place] if segment.header.ids else None
                id_ = event.get("eventId") or given or minted_id(segment.header.base, place)
                found.append((record.partition, id_, event))
    return found


class TestOneEvent:
    def test_it_is_answered_with_its_id(self, api: Served) -> None:
        sent = {"event": "signup", "properties": {"plan": "pro"}, "userId": "u1", "timestamp": "2026-02-22T10:30:00Z"}
        response = api.client.post(EVENTS, json=sent)
        assert response.status_code == 200
        body = response.json()
        assert list(body) == ["status", "eventId", "receivedAt"]
        assert body["status"] == "ok"
        assert re.fullmatch(r"evt_[A-Za-z0-9]{12}", body["eventId"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["receivedAt"])
        assert kept(api) == [(partition_of(7, "u1", body["eventId"], 4), body["eventId"], sent)]

    def test_its_own_bytes_are_kept_on_one_line(self, api: Served) -> None:
        body = b' {"event":\n "a", "properties": {"n": 1.50}}\n'
        assert api.client.post(EVENTS, content=body).status_code == 200
        [segment] = api.producer.records[0].segments()
        assert segment.lines == [b'{"event":  "a", "properties": {"n": 1.50}}']
        assert (segment.header.project, segment.header.source) == (7, "api")
        assert (segment.header.visitor, segment.header.country, segment.header.agent) == (None, None, None)

    def test_a_key_of_a_source_leaves_the_rest_of_an_event_as_it_is(self, api: Served) -> None:
        body = b'{"event":"a", "source":"x", "properties": {"n": 1.50}}'
        headers = {"X-API-Key": "sg_source"}
        assert api.client.post(EVENTS, content=body, headers=headers).status_code == 200
        [segment] = api.producer.records[0].segments()
        assert segment.lines == [b'{"event":"a","source":"src_a1B2c3D4e5F6","properties":{"n": 1.50}}']
        assert segment.header.source == "api"  # which is also a label of a metric

    def test_a_key_of_a_source_may_make_an_event_too_large(self, api: Served) -> None:
        """What it adds is judged with the rest, so that no worker refuses what was answered 200."""
        most = api.services.settings.event_bytes
        event = {"event": "a", "properties": {"a": "y" * 60_000, "b": "y" * 60_000, "c": "y" * 60_000, "d": ""}}
        event["properties"]["d"] = "y" * (most - len(msgspec.json.encode(event)))  # type: ignore[index]
        body = msgspec.json.encode(event)
        assert len(body) == most
        assert api.client.post(EVENTS, content=body).status_code == 200
        answer = api.client.post(EVENTS, content=body, headers={"X-API-Key": "sg_source"})
        assert problem(answer)[:2] == (413, "payload_too_large")

    def test_an_event_of_nobody_goes_by_its_id(self, api: Served) -> None:
        ids = [api.client.post(EVENTS, json={"event": "a"}).json()["eventId"] for _ in range(8)]
        assert [(partition, id_) for partition, id_, _ in kept(api)] == [(partition_of(7, "", i, 4), i) for i in ids]

    @pytest.mark.parametrize("path", [EVENTS + "/", "/compat/jcht/api/v1/events", "/compat/jcht/api/v1/events/"])
    def test_it_has_several_paths(self, api: Served, path: str) -> None:
        assert api.client.post(path, json={"event": "a", "eventId": "x"}).json()["eventId"] == "x"

    @pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""])
    def test_its_content_type_does_not_matter(self, api: Served, kind: str) -> None:
        response = api.client.post(EVENTS, content=b'{"event":"a"}', headers={"content-type": kind})
        assert response.status_code == 200

    def test_its_own_id_wins_over_the_key_of_the_request(self, api: Served) -> None:
        headers = {"Idempotency-Key": "retry-1"}
        assert api.client.post(EVENTS, json={"event": "a"}, headers=headers).json()["eventId"] == "retry-1"
        own = api.client.post(EVENTS, json={"event": "a", "eventId": 'mine "x"'}, headers=headers).json()["eventId"]
        assert own == 'mine "x"'
        assert [id_ for _, id_, _ in kept(api)] == ["retry-1", 'mine "x"']

    @pytest.mark.parametrize("key", [b"x" * 513, b"\xff", b"a\x00b"[:1] + b"\xc2\x85"])
    def test_an_impossible_idempotency_key_is_refused(self, api: Served, key: bytes) -> None:
        response = api.client.post(EVENTS, json={"event": "a"}, headers=[(b"idempotency-key", key)])
        assert problem(response) == (400, "bad_request", "Invalid header: Idempotency-Key")

    def test_the_sample_error(self, api: Served) -> None:
        response = api.client.post(EVENTS, json={"properties": {}})
        assert response.status_code == 400
        assert response.content == b'{"error":"bad_request","message":"Missing required field: event"}'

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"", "Malformed JSON"),
            (b" ", "Malformed JSON"),
            (b"{", "Malformed JSON"),
            (b"\xff\xfe", "Malformed JSON"),
            (b'{"event":"a"}{"event":"b"}', "Malformed JSON"),
            (b'{"event":"a","properties":{"x":NaN}}', "Malformed JSON"),
            (b'{"event":"a","properties":{"x":1e400}}', "Invalid field: properties"),
            (b'{"event":"a","properties":{"x":' + b"[" * 500_000, "Malformed JSON: nested too deep"),
            (b'{"event":"a\\u0000"}', "Invalid event: NUL characters are not allowed"),
            (b"[]", "Invalid event: expected a JSON object"),
        ],
    )
    def test_bad_bodies_are_refused(self, api: Served, body: bytes, message: str) -> None:
        assert problem(api.client.post(EVENTS, content=body)) == (400, "bad_request", message)
        assert api.client.get("/health/live").status_code == 200

    def test_large_ones_are_refused(self, api: Served) -> None:
        event = json.dumps({"event": "a", "properties": {"x": "y" * 210_000}}).encode()
        assert problem(api.client.post(EVENTS, content=event))[:2] == (413, "payload_too_large")
        assert problem(api.client.post(EVENTS, content=b" " * (1024 * 1024 + 1)))[:2] == (413, "payload_too_large")
        assert kept(api) == []


class TestBodies:
    @pytest.mark.parametrize(
        ("coding", "encode"),
        [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstandard.compress), ("", gzip.compress)],
    )
    def test_codings(self, api: Served, coding: str, encode: Any) -> None:
        headers = {"Content-Encoding": coding} if coding else {}
        response = api.client.post(BATCH, content=encode(b'[{"event":"a"}]'), headers=headers)
        assert response.json()["accepted"] == 1

    @pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
    def test_bombs(self, api: Served, coding: str) -> None:
        encode: Any = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstandard.compress}[coding]
        response = api.client.post(BATCH, content=encode(b" " * 50_000_000), headers={"Content-Encoding": coding})
        assert problem(response)[:2] == (413, "payload_too_large")

    @pytest.mark.parametrize("coding", ["br", "gzip, gzip", "nonsense"])
    def test_unknown_codings(self, api: Served, coding: str) -> None:
        response = api.client.post(EVENTS, content=b"x", headers={"Content-Encoding": coding})
        assert problem(response)[:2] == (415, "unsupported_media_type")

    def test_double_encoding(self, api: Served) -> None:
        twice = gzip.compress(gzip.compress(b'{"event":"a"}'))
        response = api.client.post(EVENTS, content=twice, headers={"Content-Encoding": "gzip"})
        assert problem(response)[:2] == (400, "bad_request")

    def test_garbage_after_gzip(self, api: Served) -> None:
        body = gzip.compress(b'{"event":"a"}') + b"garbage"
        response = api.client.post(EVENTS, content=body, headers={"Content-Encoding": "gzip"})
        assert problem(response) == (400, "bad_request", "Damaged gzip body")

    def test_a_strong_expansion_raises_an_alarm(self, api: Served) -> None:
        def alarms() -> int:
            found = re.search(
                r'streamgauge_alarms_total\{kind="body expansion"\} (\d+)', api.client.get("/metrics").text
            )
            return int(found[1]) if found else 0

        before = alarms()
        body = gzip.compress(b'{"event":"a"}' + b" " * 100_000)
        assert api.client.post(EVENTS, content=body, headers={"Content-Encoding": "gzip"}).status_code == 200
        wait_until(lambda: alarms() == before + 1)


class TestBatch:
    def test_each_item_has_its_verdict(self, api: Served) -> None:
        items = [{"event": "a", "userId": "u1"}, {"x": 1}, {"event": "b", "userId": "u2"}, {"event": 5}, {"event": "c"}]
        response = api.client.post(BATCH, json=items)
        assert response.status_code == 200
        body = response.json()
        assert list(body) == ["status", "accepted", "rejected", "eventIds", "errors", "receivedAt"]
        assert (body["status"], body["accepted"], body["rejected"]) == ("partial", 3, 2)
        assert [id_ is None for id_ in body["eventIds"]] == [False, True, False, True, False]
        assert body["errors"] == [
            {"index": 1, "error": "bad_request", "message": "Missing required field: event"},
            {"index": 3, "error": "bad_request", "message": "Invalid field: event"},
        ]
        ids = {event["event"]: (partition, id_) for partition, id_, event in kept(api)}
        assert ids == {
            name: (partition_of(7, user, id_, 4), id_)
            for name, user, id_ in zip("abc", ("u1", "u2", ""), filter(None, body["eventIds"]), strict=True)
        }

    @pytest.mark.parametrize(
        "body",
        [
            b'[{"event":"a"},{"event":"b"}]',
            b'{"events":[{"event":"a"},{"event":"b"}]}',
            b'{"event":"a"}\n{"event":"b"}\n',
        ],
    )
    def test_three_forms(self, api: Served, body: bytes) -> None:
        response = api.client.post(BATCH, content=body)
        assert (response.json()["status"], response.json()["accepted"]) == ("ok", 2)
        assert sorted(event["event"] for _, _, event in kept(api)) == ["a", "b"]

    def test_ids_by_key_and_place_in_the_request(self, api: Served) -> None:
        items = [{"event": "a"}, {}, {"event": "b", "userId": "u"}, {"event": "c", "eventId": "mine"}]
        response = api.client.post(BATCH, json=items, headers={"Idempotency-Key": "k"})
        assert response.json()["eventIds"] == ["k:0", None, "k:2", "mine"]
        assert sorted(id_ for _, id_, _ in kept(api)) == ["k:0", "k:2", "mine"]

    def test_a_key_of_a_source_says_where_all_of_it_came_from(self, api: Served) -> None:
        items: list[Any] = [{"event": "a", "source": "sdk-web"}, {}, 5, {"event": "b", "properties": {"n": 1}}]
        response = api.client.post(BATCH, json=items, headers={"X-API-Key": "sg_source"})
        assert [error["index"] for error in response.json()["errors"]] == [1, 2]
        assert sorted((event["event"], event["source"]) for _, _, event in kept(api)) == [
            ("a", "src_a1B2c3D4e5F6"),
            ("b", "src_a1B2c3D4e5F6"),
        ]

    def test_no_good_item(self, api: Served) -> None:
        response = api.client.post(BATCH, json=[{}, {"event": ""}])
        assert response.status_code == 400
        body = response.json()
        assert set(body) == {
            "status", "accepted", "rejected", "eventIds", "errors", "receivedAt", "error", "message",
        }  # fmt: skip
        assert (body["accepted"], body["rejected"], body["eventIds"]) == (0, 2, [None, None])
        assert body["error"] == "bad_request"
        assert kept(api) == []

    @pytest.mark.parametrize("bad", [rb'{"event":"\udc00"}', b"[" * 10_000 + b"]" * 10_000])
    def test_an_item_beyond_any_decoder_is_refused_alone(self, api: Served, bad: bytes) -> None:
        body = api.client.post(BATCH, content=b'[{"event":"a"},' + bad + b',{"event":"b"}]').json()
        assert (body["status"], body["accepted"], body["rejected"]) == ("partial", 2, 1)
        assert [(error["index"], error["error"]) for error in body["errors"]] == [(1, "bad_request")]
        assert sorted(event["event"] for _, _, event in kept(api)) == ["a", "b"]

    def test_a_large_item_is_that_items_error(self, api: Served) -> None:
        response = api.client.post(BATCH, json=[{"event": "a"}, {"event": "b", "properties": {"x": "y" * 210_000}}])
        assert response.status_code == 200
        assert [(error["index"], error["error"]) for error in response.json()["errors"]] == [(1, "payload_too_large")]

    def test_damaged_items_leave_their_neighbours_alone(self, api: Served) -> None:
        body = b'{"event":"a"}\n{"event":"\xff"}\n{"event":\n{"event":"b"}\n'
        response = api.client.post(BATCH, content=body)
        assert response.json()["accepted"] == 2
        assert [error["index"] for error in response.json()["errors"]] == [1, 2]

    @pytest.mark.parametrize("body", [b"[]", b'{"events":[]}', b"", b"[", b'{"events":7}'])
    def test_what_is_no_batch(self, api: Served, body: bytes) -> None:
        assert problem(api.client.post(BATCH, content=body))[:2] == (400, "bad_request")

    def test_a_full_batch_and_one_more(self, api: Served) -> None:
        items = [{"event": "a", "userId": f"u{place}"} for place in range(1000)]
        assert len(set(api.client.post(BATCH, json=items).json()["eventIds"])) == 1000
        assert len(kept(api)) == 1000
        api.producer.records.clear()
        assert problem(api.client.post(BATCH, json=[*items, {}]))[:2] == (413, "payload_too_large")
        assert problem(api.client.post(BATCH, content=b" " * (5 * 1024 * 1024 + 1)))[:2] == (413, "payload_too_large")
        assert kept(api) == []


class TestCredentials:
    @pytest.mark.parametrize("key", ["", "sg_wrong", "bj_live_admin", "x" * 10_000])
    def test_bad_keys(self, api: Served, key: str) -> None:
        response = api.client.post(EVENTS, json={"event": "a"}, headers={"X-API-Key": key})
        assert problem(response) == (401, "unauthorized", "Invalid or missing API key")

    def test_no_key(self, api: Served) -> None:
        response = httpx.post(api.url + EVENTS, json={"event": "a"})
        assert problem(response) == (401, "unauthorized", "Invalid or missing API key")

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
    def test_bearer(self, api: Served, scheme: str) -> None:
        headers = {"Authorization": f"{scheme} sg_ingest"}
        assert httpx.post(api.url + EVENTS, json={"event": "a"}, headers=headers).status_code == 200

    def test_a_key_without_the_scope(self, api: Served) -> None:
        headers = {"X-API-Key": "sg_read"}
        assert problem(api.client.post(EVENTS, json={}, headers=headers))[:2] == (403, "forbidden")
        assert problem(api.client.post(EVENTS, content=b"{", headers=headers))[:2] == (400, "bad_request")
        assert problem(api.client.post(BATCH, content=b"{}\n{}", headers=headers))[:2] == (403, "forbidden")

    @pytest.mark.parametrize(
        ("key", "query", "want"),
        [
            ("sg_account", "", (400, "bad_request", "Missing required parameter: projectId")),
            ("sg_account", "?projectId=x", (400, "bad_request", "Invalid parameter: projectId")),
            ("sg_account", "?projectId=99", (404, "not_found", "Not found")),
            ("sg_account", "?projectId=8", (403, "forbidden", "The API key belongs to another account")),
            ("sg_admin", "?projectId=8", (403, "forbidden", "The API key belongs to another project")),
        ],
    )
    def test_projects(self, api: Served, key: str, query: str, want: tuple[int, str, str]) -> None:
        response = api.client.post(EVENTS + query, json={"event": "a"}, headers={"X-API-Key": key})
        assert problem(response) == want

    @pytest.mark.parametrize("key", ["sg_account", "sg_admin"])
    def test_a_named_project(self, api: Served, key: str) -> None:
        response = api.client.post(EVENTS + "?projectId=7", json={"event": "a"}, headers={"X-API-Key": key})
        assert response.status_code == 200

    def test_the_database_is_away(self, api: Served) -> None:
        api.keys.is_down = True
        response = api.client.post(EVENTS, json={"event": "a"})
        assert problem(response)[:2] == (503, "unavailable")
        assert 1 <= int(response.headers["retry-after"]) <= 5

    def test_the_order_of_checks(self, api: Served) -> None:
        large = b" " * (1024 * 1024 + 1)
        assert httpx.put(api.url + EVENTS, content=large).status_code == 405
        assert httpx.post(api.url + EVENTS, content=large).status_code == 401
        assert api.client.post(EVENTS, content=large, headers={"X-API-Key": "sg_read"}).status_code == 413


class TestBrowsers:
    def test_preflight(self, api: Served) -> None:
        headers = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
        for path in (EVENTS, BATCH, BATCH + "/", "/api/v1/anything", "/compat/jcht/api/v1/events"):
            response = httpx.options(api.url + path, headers=headers)
            assert (response.status_code, response.content) == (204, b"")
            assert response.headers["access-control-allow-origin"] == "*"
            assert response.headers["access-control-allow-methods"] == "GET, POST, PATCH, DELETE, OPTIONS"
            allowed = "X-API-Key, Authorization, Content-Type, Idempotency-Key"
            assert response.headers["access-control-allow-headers"] == allowed
            assert response.headers["access-control-max-age"] == "600"

    def test_every_answer_may_be_read(self, api: Served) -> None:
        for response in (
            api.client.post(EVENTS, json={"event": "a"}),
            api.client.post(EVENTS, json={}),
            httpx.post(api.url + BATCH),
            api.client.get("/api/v1/nothing"),
            api.client.delete(BATCH),
        ):
            assert response.headers.get_list("access-control-allow-origin") == ["*"]
            assert "Retry-After" in response.headers["access-control-expose-headers"]

    def test_a_visitor_without_an_id_gets_a_hash(self, api: Served) -> None:
        headers = {"Origin": "https://shop.example", "User-Agent": "Firefox"}
        for _ in range(2):
            assert api.client.post(EVENTS, json={"event": "a"}, headers=headers).status_code == 200
        api.client.post(EVENTS, json={"event": "a"}, headers=headers | {"User-Agent": "Safari"})
        api.client.post(EVENTS, json={"event": "a", "userId": "u"}, headers=headers)
        visitors = [record.segments()[0].header.visitor for record in api.producer.records]
        assert visitors[0] is not None
        assert visitors[0].startswith("v_")
        assert visitors[0] == visitors[1] != visitors[2] is not None
        assert visitors[3] is None
        assert api.producer.records[0].partition == partition_of(7, visitors[0], "", 4)
        assert b"127.0.0.1" not in b"".join(record.value for record in api.producer.records)


class TestMethods:
    @pytest.mark.parametrize(
        ("method", "path", "allow"),
        [
            ("PUT", EVENTS, "GET, HEAD, POST, OPTIONS"),
            ("DELETE", EVENTS + "/", "GET, HEAD, POST, OPTIONS"),
            ("GET", BATCH, "POST, OPTIONS"),
            ("PATCH", "/compat/jcht" + BATCH, "POST, OPTIONS"),
        ],
    )
    def test_others_are_named(self, api: Served, method: str, path: str, allow: str) -> None:
        response = api.client.request(method, path)
        assert problem(response) == (405, "method_not_allowed", "Method not allowed")
        assert response.headers["allow"] == allow


class TestBadDays:
    def test_the_log_does_not_take_it(self, api: Served) -> None:
        api.producer.refusal = "breaker open"
        try:
            response = api.client.post(EVENTS, json={"event": "a"})
            assert response.elapsed.total_seconds() < 0.1
            assert problem(response)[:2] == (503, "unavailable")
            assert 1 <= int(response.headers["retry-after"]) <= 5
            assert api.client.get("/health/live").status_code == 200
            wait_until(lambda: api.client.get("/health/ready").status_code == 503)
            assert api.client.get("/health/ready").json()["reasons"] == ["log takes no events: breaker open"]
        finally:
            api.producer.refusal = None
        wait_until(lambda: api.client.get("/health/ready").status_code == 200)

    def test_the_log_loses_it(self, api: Served) -> None:
        api.producer.failure = "not delivered"
        try:
            assert problem(api.client.post(EVENTS, json={"event": "a"}))[0] == 503
            assert problem(api.client.post(BATCH, json=[{"event": "a"}] * 50))[0] == 503
        finally:
            api.producer.failure = None
        assert api.client.post(EVENTS, json={"event": "a"}).status_code == 200

    def test_a_client_leaves_while_it_sends(self, api: Served) -> None:
        with socket.create_connection(("127.0.0.1", httpx.URL(api.url).port or 0)) as connection:
            connection.sendall(_head(100) + b'{"event":')
        assert api.client.post(EVENTS, json={"event": "b"}).status_code == 200
        assert [event["event"] for _, _, event in kept(api)] == ["b"]

    def test_a_client_leaves_before_its_answer(self, api: Served) -> None:
        api.call(lambda: setattr(api.producer, "is_holding", True))
        body = b'{"event":"left","userId":"u"}'
        with socket.create_connection(("127.0.0.1", httpx.URL(api.url).port or 0)) as connection:
            connection.sendall(_head(len(body)) + body)
            wait_until(lambda: api.producer.held)
        api.call(api.producer.release)
        api.call(lambda: setattr(api.producer, "is_holding", False))
        assert [event["event"] for _, _, event in kept(api)] == ["left"]
        assert api.client.post(EVENTS, json={"event": "b"}).status_code == 200


def _head(length: int) -> bytes:
    return b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: sg_admin\r\nContent-Length: %d\r\n\r\n" % length


def test_a_slow_client_is_told_and_cut_off(tmp_path: Path) -> None:
    with (
        serve_fake(tmp_path, body_seconds=0.2) as api,
        socket.create_connection(("127.0.0.1", httpx.URL(api.url).port or 0)) as connection,
    ):
        connection.sendall(_head(100) + b'{"event":')
        connection.settimeout(5)
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"error":"request_timeout"' in answer


def test_a_prefix_that_a_proxy_strips(tmp_path: Path) -> None:
    with serve_fake(tmp_path, root_path="/gauge") as api:
        assert api.client.post(EVENTS, json={"event": "a"}).status_code == 200
        assert api.client.get("/health/live").status_code == 200
        assert api.client.get("/api/v1/nothing").headers["access-control-allow-origin"] == "*"


def test_only_a_trusted_proxy_names_the_client(tmp_path: Path) -> None:
    browser = {"Origin": "https://shop.example", "User-Agent": "Firefox"}

    def visitors(**settings: Any) -> list[str | None]:
        with serve_fake(tmp_path, **settings) as api:
            for address in ("198.51.100.7", "198.51.100.8"):
                api.client.post(EVENTS, json={"event": "a"}, headers=browser | {"X-Forwarded-For": address})
            return [record.segments()[0].header.visitor for record in api.producer.records]

    first, second = visitors()
    assert first == second
    first, second = visitors(trusted_proxies="127.0.0.1")
    assert first != second
