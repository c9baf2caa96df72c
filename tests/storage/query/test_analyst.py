"""Sketches of people in `streamgauge sql`, and the same in an analyst's own Python."""

import re
from pathlib import Path

import pytest

from storage.errors import Refused
from storage.lake.publication import publish
from storage.query.analyst import ask
from tests.factories import LakeWriter, event_row

DOCUMENT = (Path(__file__).parents[3] / "docs" / "lake.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 people on each of three days, 70 in all, in several flushes."""
    place = tmp_path_factory.mktemp("lake")
    writer = LakeWriter(place)
    for day in (1, 2, 3):
        people = [f"person-{number + 10 * day}" for number in range(50)]
        writer.append([event_row(f"2026-03-0{day}T{n % 24:02}:00", who) for n, who in enumerate(people * 2)])
    return place


def _asked(lake: Path, statement: str) -> list[list[str]]:
    with ask(lake, statement) as answer:
        return answer.first(10)


def test_sketches_are_united_and_estimated(lake: Path) -> None:
    of_all = "SELECT hll_estimate(hll_union(list(people))) FROM rollups WHERE dimension = ''"
    assert _asked(lake, of_all) == [["70"]]
    assert _asked(lake, f"{of_all} GROUP BY date ORDER BY date") == [["50"]] * 3
    by_day = "SELECT hll_union(list(people)) AS people FROM rollups WHERE dimension = '' GROUP BY date"
    assert _asked(lake, f"SELECT hll_estimate(hll_union(list(people))) FROM ({by_day})") == [["70"]]
    assert _asked(lake, "SELECT sum(hll_estimate(people)) > 150 FROM rollups") == [["true"]]


def test_nothing_has_no_sketch_and_an_empty_list_has_nobody(lake: Path) -> None:
    assert _asked(lake, "SELECT hll_estimate(hll_union(list(people))) FROM rollups WHERE false") == [[""]]
    assert _asked(lake, "SELECT hll_estimate(hll_union([NULL, NULL]::BLOB[]))") == [["0"]]


def test_what_is_no_sketch_is_refused_in_one_line(lake: Path) -> None:
    with pytest.raises(Refused, match="deserialize") as refused, ask(lake, "SELECT hll_estimate('x'::BLOB)") as answer:
        answer.first(1)
    assert "\n" not in str(refused.value)


def test_the_documented_way_in_plain_python_finds_the_same(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(lake)
    [example] = re.findall(r"^```python\n(import duckdb\nfrom datasketches.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    exec(example.replace("data/lake/lake.duckdb", str(lake / "lake.duckdb")), {})
    assert capsys.readouterr().out == "70\n"
