"""All rows of a selection as they are read: in one order, and never all in memory."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from schemas.exports import ExportQuestion
from storage.lake.place import Place
from storage.query.analyst import Answer
from storage.query.engine import EnginePolicy, open_database
from storage.query.lake import Lake
from storage.query.rows import Rows

# Rows that are in memory at once: an event may have 200 kB.
_BATCH_ROWS = 2000
_JSON = frozenset({"properties", "context"})
_EVENT = """event_id AS "eventId", event, timestamp, received_at AS "receivedAt",
    CASE WHEN identified_by = 'user' THEN distinct_id END AS "userId", anonymous_id AS "anonymousId",
    distinct_id AS "distinctId", person AS "personId", session_id AS "sessionId", source, is_pageview AS "isPageview",
    url, path, title, referrer AS "referrerUrl", referrer_domain AS referrer, channel, utm_source, utm_medium,
    utm_campaign, utm_term, utm_content, country, browser, browser_version AS "browserVersion", os, device,
    properties, context"""
_USER = {"user_id": "CASE WHEN identified_by = 'user' THEN person END"}
_ENTRY = {"referrer_domain": "referrer_domain", "country": "country", "device": "device"}
_SESSION = """session_id AS "sessionId", user_id AS "userId", timestamp AS "startedAt", ended AS "endedAt",
    round(duration)::BIGINT AS "durationSeconds", pageviews, events, entry_path AS "entryPath",
    exit_path AS "exitPath", referrer_domain AS referrer, country, device, is_bounce AS bounced"""


class Exporter:
    """A database of its own, so that slow readers hold up no question. Thread-safe."""

    def __init__(self, place: Place | str, policy: EnginePolicy | None = None) -> None:
        policy = policy or EnginePolicy(memory_bytes=256 * 1024 * 1024)
        self._database = open_database(str(place), replace(policy, keeps_order=True))

    @contextmanager
    def open(self, lake: Lake, question: ExportQuestion, aliases: Mapping[str, str]) -> Iterator[Answer]:
        """The rows, to be written within the block, by any thread. Raises Unavailable or InvalidQuestion."""
        rows = Rows(lake, question.selection, aliases, sees_sessions=question.kind == "sessions")
        if question.kind == "events":
            statement = f"WITH {rows.chosen(_EVENT)} SELECT * FROM chosen"
        else:
            statement = (
                f"WITH {rows.sessions(_USER | _ENTRY)} SELECT {_SESSION} FROM sessions ORDER BY timestamp, track"
            )
        if question.skip:
            statement += f" OFFSET {question.skip}"
        with self._database.cursor() as connection:
            yield Answer(connection, statement, rows.files, rows.parameters.values, _BATCH_ROWS, _JSON)

    def close(self) -> None:
        """After the last block."""
        self._database.close()
