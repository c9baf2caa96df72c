"""Heatmaps of a page, from its `$heatmap` events."""

from collections.abc import Mapping

from schemas.heatmaps import DEPTHS, Depth, HeatmapAnswer, HeatmapQuestion, Spot
from storage.query.engine import Cursor
from storage.query.lake import Lake
from storage.query.rows import Rows

_PAGE = """
page AS (
    SELECT person, is_pageview AND NOT is_system AS is_view, properties ->> '/action' AS action,
        round(TRY_CAST(properties ->> '/x' AS DOUBLE))::BIGINT AS x,
        round(TRY_CAST(properties ->> '/y' AS DOUBLE))::BIGINT AS y,
        TRY_CAST(properties ->> '/depth' AS DOUBLE) AS depth,
        properties ->> '/element' AS element, properties ->> '/text' AS text,
        TRY_CAST(properties ->> '/viewportWidth' AS DOUBLE)::BIGINT AS width,
        TRY_CAST(properties ->> '/viewportHeight' AS DOUBLE)::BIGINT AS height
    FROM ({source}) WHERE (event = '$heatmap' OR (is_pageview AND NOT is_system)) AND path = {path} {device}
),
acted AS (SELECT * FROM page WHERE NOT is_view AND action = {action})
"""


def answer_heatmap(cursor: Cursor, lake: Lake, question: HeatmapQuestion, aliases: Mapping[str, str]) -> HeatmapAnswer:
    """Everything of one action on one page."""

    def page() -> tuple[Rows, str]:
        rows = Rows(lake, question.selection, aliases, sees_sessions=False)
        bind = rows.parameters.bind
        device = "" if question.device is None else f"AND device = {bind(question.device)}"
        return rows, _PAGE.format(
            source=rows.source(), path=bind(question.path), device=device, action=bind(question.action)
        )

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
    ports, ctes_of_ports = page()
    viewport = cursor.rows(
        f"WITH {ctes_of_ports} SELECT width, height FROM acted WHERE width > 0 AND height > 0"
        " GROUP BY width, height ORDER BY count(*) DESC, width, height LIMIT 1",
        ports.parameters.values,
    )
    return HeatmapAnswer(
        total=total,
        visitors=visitors,
        pageviews=pageviews,
        spots=tuple(Spot(*spot) for spot in spots),
        depths=tuple(Depth(percent, count) for percent, count in zip(DEPTHS, depths, strict=True)),
        mean_depth=mean,
        viewport=viewport[0] if viewport else None,
        version=rows.version,
    )
