"""Clicks of a page in plain Python over lists of rows, to hold queries against."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from schemas.heatmaps import ClickKind, ClickPlace
from schemas.rows import Row

_SECOND = 1000


@dataclass(slots=True)
class Click:
    """One click with all that it says."""

    row: Row
    said: dict[str, Any]

    @property
    def at(self) -> int:
        return int(self.said.get("timestamp", self.row.timestamp))

    @property
    def place(self) -> tuple[Any, ...]:
        if (element := self.said.get("element")) is not None:
            return element, self.said.get("text"), None, None
        return None, None, math.floor(self.said["x"] / 50), math.floor(self.said["y"] / 50)


def clicks_of(rows: Iterable[Row], path: str) -> list[Click]:
    """The clicks of one page."""
    found = (
        Click(row, json.loads(bytes(row.properties)))
        for row in rows
        if row.event == "$heatmap" and row.web is not None and row.web.path == path
    )
    return [click for click in found if click.said.get("action") == "click"]


def places_of(rows: list[Row], path: str, kind: ClickKind) -> list[ClickPlace]:
    """What the question of clicks answers, in its order."""
    clicks = [click for click in clicks_of(rows, path) if click.row.distinct_id]
    if kind == "elements":
        return _places([[click] for click in clicks if "element" in click.said], is_rage=False)
    if kind == "dead":
        return _places([[click] for click in clicks if _is_dead(click, rows)], is_rage=False)
    return _places(_bursts(clicks), is_rage=True)


def _is_dead(click: Click, rows: list[Row]) -> bool:
    return not any(
        row.distinct_id == click.row.distinct_id
        and not row.is_system
        and 0 <= row.timestamp - click.row.timestamp <= 3 * _SECOND
        for row in rows
    )


def _bursts(clicks: list[Click]) -> list[list[Click]]:
    """A hand is the clicks of one visitor on one place; of it, every second with five clicks is one of rage."""
    hands: dict[Any, list[Click]] = {}
    for click in clicks:
        hands.setdefault((click.row.distinct_id, click.place), []).append(click)
    found = []
    for hand in hands.values():
        hand.sort(key=lambda click: click.at)
        raging: set[int] = set()
        for first in hand:
            second = [place for place, click in enumerate(hand) if 0 <= click.at - first.at <= _SECOND]
            if len(second) >= 5:
                raging |= set(second)
        burst: list[Click] = []
        for place in sorted(raging):
            if burst and hand[place].at - burst[-1].at > _SECOND:
                found.append(burst)
                burst = []
            burst.append(hand[place])
        found += [burst] if burst else []
    return found


def _places(bursts: list[list[Click]], *, is_rage: bool) -> list[ClickPlace]:
    by_place: dict[tuple[Any, ...], list[list[Click]]] = {}
    for burst in bursts:
        by_place.setdefault(burst[0].place, []).append(burst)
    found = []
    for place, own in by_place.items():
        clicks = [click for burst in own for click in burst]
        at = {
            axis: math.floor(sum(known) / len(known))
            if (known := [click.said[axis] for click in clicks if axis in click.said])
            else None
            for axis in ("x", "y")
        }
        rage = (len(own), max(map(len, own))) if is_rage else (0, 0)
        visitors = len({click.row.distinct_id for click in clicks})
        found.append((place, ClickPlace(place[0], place[1], at["x"], at["y"], len(clicks), visitors, *rage)))
    return [answer for place, answer in sorted(found, key=lambda item: (-item[1].clicks, *_order(item[0])))]


def _order(place: tuple[Any, ...]) -> tuple[Any, ...]:
    element, text, column, row = place
    return element is None, element or "", text is None, text or "", row or 0, column or 0
