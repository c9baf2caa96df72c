"""What a session is: the one definition behind the API's figures, the stored table and the analysts' view.

A session is the events that share a client's session id without a day of silence, else those of a person
without half an hour of it. System events that show presence extend a session, begin none and are counted in nothing;
who did nothing else for a day begins a new session with what is done next. A session is measured for a day.
"""

from datetime import timedelta

from storage.lake.tables import SESSIONS

# A person silent for longer begins a new session; so does a session id that is heard again after a day.
SILENCE = timedelta(minutes=30)
LONGEST_SILENCE = timedelta(hours=24)

PLACE = "kafka_partition, kafka_offset, record_index"
# A total order in time: no two rows share a place in the log.
IN_TIME = f"timestamp, {PLACE}"
# System events that show somebody is there, beside all ordinary events; those that change people do not.
IS_SEEN = "(NOT is_system OR event IN ('$engagement', '$heartbeat', '$heatmap'))"
# What is asked of each row of `seen`, over the table's columns and the row's `person`.
MARKS = """CASE WHEN session_id <> '' THEN 's' || session_id WHEN person <> '' THEN 'p' || person END AS track,
        CASE WHEN is_system OR is_pageview THEN TRY_CAST((properties ->> '/timeOnPage') AS DOUBLE) END AS time_on_page,
        CASE WHEN is_system OR is_pageview THEN (properties ->> '/isBounce') = 'false' END AS is_no_bounce"""
# Of the rows of one `visit` of one `track`.
FIGURES = f"""min(timestamp) FILTER (NOT is_system) AS timestamp, min(timestamp) AS begun, max(timestamp) AS ended,
            coalesce(arg_min(person, ({IN_TIME})) FILTER (person <> ''), '') AS person,
            any_value(session_id) AS session_id,
            count(*) FILTER (NOT is_system) AS events, count(*) FILTER (is_pageview) AS pageviews,
            arg_min(path, ({IN_TIME})) FILTER (is_pageview) AS entry_path,
            arg_max(path, ({IN_TIME})) FILTER (is_pageview) AS exit_path,
            coalesce(sum(time_on_page), 0) AS time_spent, coalesce(bool_or(is_no_bounce), false) AS is_engaged"""
# Of the figures.
VERDICTS = """pageviews = 1 AND NOT is_engaged AS is_bounce,
        greatest((epoch_us(ended) - epoch_us(begun)) / 1000000, time_spent) AS duration"""


def numbered(*keys: str) -> str:
    """`numbered`: the rows of `seen` that have a `track`, with the number of their `visit`.

    `keys` tell the tracks apart. Instants are compared as numbers, whatever the time zone of the reader.
    Whether a row begins a visit is told by the day before it, and a visit is measured for a day: so it is the same
    whatever days around it are read. Most tracks are one visit since they are shorter than its silence; the others,
    and those with system events, are sorted.
    """
    named = ", ".join(f"{key} AS key{place}" for place, key in enumerate(keys))
    is_of = " AND ".join(f"{key} = key{place}" for place, key in enumerate(keys))
    window = f"OVER (PARTITION BY {', '.join(keys)} ORDER BY {IN_TIME}"
    longest, silence = (limit // timedelta(microseconds=1) for limit in (LONGEST_SILENCE, SILENCE))
    acted = (
        f"max(CASE WHEN NOT is_system THEN timestamp END) {window} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    )
    return f"""tracks AS (
    SELECT {named}, NOT bool_or(is_system) AND epoch_us(max(timestamp)) - epoch_us(min(timestamp))
            <= CASE WHEN any_value(session_id) <> '' THEN {longest} ELSE {silence} END AS is_one_visit
    FROM seen WHERE track IS NOT NULL GROUP BY ALL
),
numbered AS (
    SELECT seen.*, 1 AS visit FROM seen JOIN tracks ON {is_of} WHERE is_one_visit
    UNION ALL BY NAME
    SELECT * EXCLUDE (since, is_first) FROM (
        SELECT *, sum(is_first::INTEGER) {window} ROWS UNBOUNDED PRECEDING) AS visit,
            max(CASE WHEN is_first THEN timestamp END) {window} ROWS UNBOUNDED PRECEDING) AS since
        FROM (
            SELECT seen.*, coalesce(epoch_us(timestamp) - epoch_us(lag(timestamp) {window}))
                > CASE WHEN session_id <> '' THEN {longest} ELSE {silence} END, true)
                OR (NOT is_system AND coalesce(epoch_us(timestamp) - epoch_us({acted}) > {longest}, true)) AS is_first
            FROM seen JOIN tracks ON {is_of} WHERE NOT is_one_visit
        )
    )
    WHERE epoch_us(timestamp) - epoch_us(since) <= {longest}
)"""


def first(name: str) -> str:
    """An attribute of a session: that of its first pageview, else of its first ordinary event."""
    return (
        f"coalesce(arg_min({name}, ({IN_TIME})) FILTER (is_pageview),"
        f" arg_min({name}, ({IN_TIME})) FILTER (NOT is_system)) AS {name}"
    )


def sessions_select(events: str, days: str) -> str:
    """Every column of the table for the sessions that began on each `day` of the relation `days`.

    What a day's sessions are depends on the events of that day and of the two beside it, and on nothing else, so
    that a day can be stored. Persons are ids as they were sent: aliases come and go.
    """
    firsts = ", ".join(map(first, ("referrer_domain", "country", "device")))
    columns = ", ".join(f'"{name}"' for name in SESSIONS.names)
    return f"""WITH days AS ({days}),
near AS (
    SELECT *, unnest(["date" - 1, "date", "date" + 1]) AS day FROM {events}
    WHERE NOT is_bot AND {IS_SEEN} AND "date" IN (SELECT unnest([day - 1, day, day + 1]) FROM days)
),
seen AS (
    SELECT day, project_id, "date", timestamp, distinct_id AS person, path, is_system, is_pageview, session_id, {PLACE},
        referrer_domain, country, device,
        {MARKS.replace("person", "distinct_id")}
    FROM near WHERE day IN (SELECT day FROM days)
),
{numbered("day", "project_id", "track")},
summed AS (
    SELECT *, {VERDICTS} FROM (
        SELECT project_id, day AS "date", min("date") FILTER (NOT is_system) AS begun_on,
            {FIGURES}, {firsts}
        FROM numbered GROUP BY day, project_id, track, visit
    ) WHERE begun_on = "date"
),
named AS (
    SELECT * REPLACE (coalesce(nullif(session_id, ''), person || '@' || epoch_ms(timestamp)) AS session_id),
        person AS distinct_id, timestamp AS started_at, ended AS ended_at, round(duration)::BIGINT AS duration_seconds
    FROM summed
)
SELECT {columns} FROM named"""
