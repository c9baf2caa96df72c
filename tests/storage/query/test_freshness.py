"""What an answer may claim to hold."""

from datetime import UTC, datetime
from pathlib import Path

from storage.query.freshness import LogEnd, LogState, lake_watermark, rollups_cover, watermark
from storage.query.lake import Lake
from tests.factories import CHAIN, LakeWriter, event_row

AT = datetime(2026, 2, 20, tzinfo=UTC)


def test_watermark_is_when_the_end_was_seen_where_the_lake_has_reached_it() -> None:
    assert watermark({0: LogEnd(10, 5000)}, {0: 10}, {0: 100}, 1) == 5000
    assert watermark({0: LogEnd(10, 5000)}, {0: 12}, {0: 100}, 1) == 5000
    assert watermark({0: LogEnd(0, 5000)}, {}, {}, 1) == 5000


def test_watermark_is_the_last_record_in_the_lake_where_more_is_to_come() -> None:
    assert watermark({0: LogEnd(11, 5000)}, {0: 10}, {0: 100}, 1) == 100
    assert watermark({}, {0: 10}, {0: 100}, 1) == 100


def test_watermark_is_the_least_of_the_partitions() -> None:
    ends = {0: LogEnd(10, 5000), 1: LogEnd(4, 4000)}
    assert watermark(ends, {0: 10, 1: 4}, {}, 2) == 4000
    assert watermark(ends, {0: 10, 1: 3}, {1: 70}, 2) == 70
    assert watermark(ends, {0: 10, 1: 4}, {}, 3) == 0
    assert watermark({}, {}, {}, 0) == 0


def test_watermark_of_a_lake(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    writer.append([event_row(AT, place=(0, 9, 0))], last_timestamp=777)
    lake = Lake(writer.place, max_age_seconds=0)
    assert lake_watermark(lake, LogState(CHAIN, 1, {0: LogEnd(10, 5000)})) == 5000
    assert lake_watermark(lake, LogState(CHAIN, 1, {0: LogEnd(11, 5000)})) == 777
    assert lake_watermark(lake, LogState("other", 1, {0: LogEnd(10, 5000)})) == 0


def test_rollups_that_kept_up_cover(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    lake = Lake(writer.place, max_age_seconds=0)
    assert rollups_cover(lake, LogState(CHAIN, 2))
    writer.append([event_row(AT, place=(1, 9, 0))])
    assert rollups_cover(lake, LogState(CHAIN, 2))


def test_rollups_that_lag_do_not_cover_until_they_catch_up(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    lake = Lake(writer.place)
    writer.append([event_row(AT, place=(1, 9, 0))])
    assert rollups_cover(lake, LogState(CHAIN, 2))
    writer.append([event_row(AT, place=(1, 10, 0))], with_rollups=False)
    fresh = Lake(writer.place, max_age_seconds=0)
    assert not rollups_cover(fresh, LogState(CHAIN, 2))
    writer.append([event_row(AT, place=(1, 11, 0))])
    assert rollups_cover(fresh, LogState(CHAIN, 2))
