"""What an answer may claim to hold."""

from datetime import UTC, datetime
from pathlib import Path

from storage.query.freshness import LogEnd, LogState, Watermark, marks, rollups_cover
from storage.query.lake import Lake
from tests.factories import CHAIN, LakeWriter, event_row

AT = datetime(2026, 2, 20, tzinfo=UTC)


def test_mark_is_when_the_end_was_seen_where_the_lake_has_reached_it() -> None:
    assert marks({0: LogEnd(10, 5000)}, {0: 10}, {0: 100}, 1) == {0: 5000}
    assert marks({0: LogEnd(10, 5000)}, {0: 12}, {0: 100}, 1) == {0: 5000}
    assert marks({0: LogEnd(0, 5000)}, {}, {}, 1) == {0: 5000}


def test_mark_is_the_last_record_in_the_lake_where_more_is_to_come() -> None:
    assert marks({0: LogEnd(11, 5000)}, {0: 10}, {0: 100}, 1) == {0: 100}
    assert marks({}, {0: 10}, {0: 100}, 1) == {0: 100}
    assert marks({}, {}, {}, 1) == {0: 0}


def test_watermark_is_the_least_of_the_partitions(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    writer.append([event_row(AT, place=(0, 9, 0))], last_timestamp=777)
    watermark = Watermark(Lake(writer.place, max_age_seconds=0))
    assert watermark.read(None) == 0
    assert watermark.read(LogState(CHAIN, 0)) == 0
    assert watermark.read(LogState(CHAIN, 1, {0: LogEnd(11, 5000)})) == 777
    assert watermark.read(LogState(CHAIN, 2, {0: LogEnd(10, 5000), 1: LogEnd(0, 4000)})) == 4000
    assert watermark.read(LogState(CHAIN, 3, {0: LogEnd(10, 5000), 1: LogEnd(0, 4000)})) == 0


def test_watermark_never_goes_back_within_a_log(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path / "lake")
    watermark = Watermark(Lake(writer.place, max_age_seconds=0))
    assert watermark.read(LogState(CHAIN, 1, {0: LogEnd(0, 5000)})) == 5000
    # The first record of the partition is in the log and not yet in the lake.
    assert watermark.read(LogState(CHAIN, 1, {0: LogEnd(1, 6000)})) == 5000
    assert watermark.read(LogState("another/log", 1, {0: LogEnd(1, 6000)})) == 0


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
