"""Hypothesis strategies for rows as the workers accept them."""

from collections.abc import Sequence

from hypothesis import strategies as st

from schemas.rows import Row, WebFields

TEXT = st.text(max_size=6)
_OPTIONAL = st.none() | TEXT
# Around 1970 and around now, to the millisecond.
INSTANT = st.integers(-3 * 86_400_000, 3 * 86_400_000) | st.integers(1_764_000_000_000, 1_764_000_000_000 + 7_200_000)
JSON = st.sampled_from([b"{}", b'{"a":1}', '{"é":"\U0001f600"}'.encode(), b'{"n":"\\u0000"}'])

webs = st.just(WebFields()) | st.builds(
    WebFields,
    url=_OPTIONAL,
    path=st.none() | st.sampled_from(["/", "/a", "/b"]),
    title=_OPTIONAL,
    referrer_domain=st.none() | st.sampled_from(["x.org", "y.org"]),
    utm_source=_OPTIONAL,
    country=st.none() | st.sampled_from(["DE", "FR"]),
    browser=_OPTIONAL,
    device=st.none() | st.just("mobile"),
    is_bot=st.booleans(),
    bot_rule=_OPTIONAL,
)
rows = st.builds(
    Row,
    project_id=st.sampled_from([1, 2, 2**53]),
    event_id=TEXT,
    event=st.sampled_from(["click", "page_view", "$heartbeat"]),
    distinct_id=st.sampled_from(["", "a", "b", "c", "\x00", "é"]),
    identified_by=st.none() | st.just("user"),
    anonymous_id=_OPTIONAL,
    session_id=_OPTIONAL,
    timestamp=INSTANT,
    received_at=INSTANT,
    source=TEXT,
    is_pageview=st.booleans(),
    is_system=st.booleans(),
    properties=JSON,
    context=st.none() | JSON,
    web=webs,
    kafka_partition=st.integers(0, 2),
    kafka_offset=st.integers(0, 2**40),
    record_index=st.integers(0, 500),
)


@st.composite
def placed(draw: st.DrawFn, max_size: int = 20) -> Sequence[Row]:
    """Rows whose places rise by one on each partition, as in a log."""
    found: list[Row] = []
    ends = dict.fromkeys(range(3), 0)
    for row in draw(st.lists(rows, min_size=1, max_size=max_size)):
        values = {name: getattr(row, name) for name in Row.__struct_fields__}
        values |= {"kafka_offset": ends[row.kafka_partition], "record_index": 0}
        ends[row.kafka_partition] += 1
        found.append(Row(**values))
    return found
