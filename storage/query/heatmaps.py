"""Heatmaps of a page, from its `$heatmap` events."""

from collections.abc import Mapping
from typing import Final

from schemas.heatmaps import (
    BAND,
    CELL,
    DEAD_MILLIS,
    DEPTHS,
    RAGE_CLICKS,
    RAGE_MILLIS,
    Band,
    ClickKind,
    ClickPlace,
    ClicksAnswer,
    ClicksQuestion,
    Depth,
    HeatmapAnswer,
    HeatmapQuestion,
    Spot,
)
from storage.query.engine import Cursor
from storage.query.lake import Lake
from storage.query.rows import Rows

_FAR: Final = 1_000_000
_LATE: Final = 10**14


def _number(name: str, least: int, most: int) -> str:
    """A number that a page sent; what is none, or none on a page, is null."""
    found = f"TRY_CAST(properties ->> '/{name}' AS DOUBLE)"
    return f"CASE WHEN {found} BETWEEN {least} AND {most} THEN {found} END"


_PAGE: Final = f"""
page AS (
    SELECT person, timestamp, is_pageview AND NOT is_system AS is_view, properties ->> '/action' AS action,
        round({_number("x", -_FAR, _FAR)})::INTEGER AS x, round({_number("y", -_FAR, _FAR)})::INTEGER AS y,
        {_number("depth", 0, 100)} AS depth, properties ->> '/element' AS element, properties ->> '/text' AS text,
        ({_number("viewportWidth", 1, _FAR)})::INTEGER AS width,
        ({_number("viewportHeight", 1, _FAR)})::INTEGER AS height,
        ({_number("timestamp", 0, _LATE)})::BIGINT AS clock
    FROM ({{source}}) WHERE (event = '$heatmap' OR (is_pageview AND NOT is_system)) AND path = {{path}} {{device}}
),
acted AS (SELECT * FROM page WHERE NOT is_view AND action = {{action}})
"""
# Pages tell when each of several clicks was that they send at once; where they do not, it is when they were sent.
_CLICKS = f"""
clicks AS (
    SELECT person, timestamp, element, CASE WHEN element IS NOT NULL THEN text END AS text, x, y,
        CASE WHEN element IS NULL THEN floor(x / {CELL}) END AS column_,
        CASE WHEN element IS NULL THEN floor(y / {CELL}) END AS row_,
        coalesce(clock, epoch_ms(timestamp)) AS moment
    FROM acted WHERE person <> '' AND (element IS NOT NULL OR (x IS NOT NULL AND y IS NOT NULL))
)"""
_PLACE: Final = "element, text, column_, row_"
_HAND: Final = f"PARTITION BY person, {_PLACE} ORDER BY moment"
# A click is in a burst if some second that holds it holds enough of them; a second without one ends the burst.
_RAGE = f"""
counted AS (
    SELECT *, count(*) OVER ({_HAND} RANGE BETWEEN {RAGE_MILLIS} PRECEDING AND CURRENT ROW) AS within_ FROM clicks
),
raging AS (
    SELECT * FROM counted
    QUALIFY max(within_) OVER ({_HAND} RANGE BETWEEN CURRENT ROW AND {RAGE_MILLIS} FOLLOWING) >= {RAGE_CLICKS}
),
begun AS (SELECT *, coalesce(moment - lag(moment) OVER ({_HAND}) > {RAGE_MILLIS}, true) AS begins FROM raging),
chosen AS (SELECT *, count(*) FILTER (begins) OVER ({_HAND}) AS burst FROM begun)"""
_DEAD = f"""
answered AS (
    SELECT person, timestamp AS followed FROM ({{source}})
    WHERE NOT is_system AND person IN (SELECT person FROM clicks)
),
chosen AS (
    SELECT clicks.*, 0 AS burst FROM clicks ASOF LEFT JOIN answered
    ON clicks.person = answered.person AND clicks.timestamp <= answered.followed
    WHERE answered.followed IS NULL OR epoch_ms(answered.followed) - epoch_ms(clicks.timestamp) > {DEAD_MILLIS}
)"""
_ELEMENTS = "chosen AS (SELECT *, 0 AS burst FROM clicks WHERE element IS NOT NULL)"
_CHOSEN: Final[Mapping[ClickKind, str]] = {"elements": _ELEMENTS, "rage": _RAGE, "dead": _DEAD}


def answer_heatmap(cursor: Cursor, lake: Lake, question: HeatmapQuestion, aliases: Mapping[str, str]) -> HeatmapAnswer:
    """Everything of one action on one page."""

    def page() -> tuple[Rows, str]:
        return _page(lake, question, question.action, aliases)

    rows, ctes = page()
    deep = ", ".join(f"count(DISTINCT person) FILTER (depth >= {depth})" for depth in DEPTHS)
    total, visitors, mean, *depths = cursor.rows(
        f"WITH {ctes} SELECT count(*), count(DISTINCT person), coalesce(avg(depth), 0), {deep} FROM acted",
        rows.parameters.values,
    )[0]
    views, ctes_of_views = page()
    pageviews = cursor.rows(
        f"WITH {ctes_of_views} SELECT count(*) FILTER (is_view), (SELECT count(*) FROM acted) FROM page",
        views.parameters.values,
    )[0][0]
    places, ctes_of_places = page()
    spots = cursor.rows(
        f"WITH {ctes_of_places} SELECT x, y, count(*), any_value(element), any_value(text) FROM acted"
        f" WHERE x IS NOT NULL AND y IS NOT NULL GROUP BY x, y ORDER BY count(*) DESC, y, x LIMIT {question.limit}",
        places.parameters.values,
    )
    heights, ctes_of_heights = page()
    bands = cursor.rows(
        f"WITH {ctes_of_heights} SELECT floor(y / {BAND})::INTEGER * {BAND} AS top, count(*) FROM acted"
        " WHERE y IS NOT NULL GROUP BY top ORDER BY top",
        heights.parameters.values,
    )
    ports, ctes_of_ports = page()
    viewport = cursor.rows(
        f"WITH {ctes_of_ports} SELECT width, height FROM acted WHERE width IS NOT NULL AND height IS NOT NULL"
        " GROUP BY width, height ORDER BY count(*) DESC, width, height LIMIT 1",
        ports.parameters.values,
    )
    return HeatmapAnswer(
        total=total,
        visitors=visitors,
        pageviews=pageviews,
        spots=tuple(Spot(*spot) for spot in spots),
        bands=tuple(Band(*band) for band in bands),
        depths=tuple(Depth(percent, count) for percent, count in zip(DEPTHS, depths, strict=True)),
        mean_depth=mean,
        viewport=viewport[0] if viewport else None,
        version=rows.version,
    )


def answer_clicks(cursor: Cursor, lake: Lake, question: ClicksQuestion, aliases: Mapping[str, str]) -> ClicksAnswer:
    """The places of one page whose clicks are of a kind."""
    all_rows, ctes_of_all = _page(lake, question, "click", aliases)
    total = cursor.rows(f"WITH {ctes_of_all} SELECT count(*) FROM acted", all_rows.parameters.values)[0][0]
    rows, ctes = _page(lake, question, "click", aliases)
    chosen = _CHOSEN[question.kind]
    if question.kind == "dead":
        chosen = chosen.format(source=rows.source())
    bursts = f"bursts AS (SELECT person, {_PLACE}, burst, count(*) AS clicks FROM chosen GROUP BY ALL)"
    found = cursor.rows(
        f"""WITH {ctes}, {_CLICKS}, {chosen}, {bursts},
longest AS (SELECT {_PLACE}, count(*) AS bursts, max(clicks) AS longest FROM bursts GROUP BY ALL),
places AS (
    SELECT {_PLACE}, floor(avg(x))::INTEGER AS x, floor(avg(y))::INTEGER AS y, count(*) AS clicks,
        count(DISTINCT person) AS visitors FROM chosen GROUP BY {_PLACE}
)
SELECT places.element, places.text, x, y, clicks, visitors, bursts, longest, sum(clicks) OVER ()
FROM places JOIN longest ON {
            " AND ".join(f"places.{name} IS NOT DISTINCT FROM longest.{name}" for name in _PLACE.split(", "))
        }
ORDER BY clicks DESC, places.element NULLS LAST, places.text NULLS LAST, places.row_, places.column_
LIMIT {question.limit}""",
        rows.parameters.values,
    )
    is_rage = question.kind == "rage"
    return ClicksAnswer(
        total=total,
        found=int(found[0][-1]) if found else 0,
        places=tuple(ClickPlace(*(row[:-1] if is_rage else row[:-3])) for row in found),
        version=rows.version,
    )


def _page(
    lake: Lake, question: HeatmapQuestion | ClicksQuestion, action: str, aliases: Mapping[str, str]
) -> tuple[Rows, str]:
    """A statement's own rows, and `page` and `acted` over them."""
    rows = Rows(lake, question.selection, aliases, sees_sessions=False)
    bind = rows.parameters.bind
    device = "" if question.device is None else f"AND device = {bind(question.device)}"
    return rows, _PAGE.format(source=rows.source(), path=bind(question.path), device=device, action=bind(action))
