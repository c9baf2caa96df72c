"""What heartbeats say: state, age and readiness."""

import pytest

from api.live.partitions import BEHIND_MILLIS, STALE_MILLIS, UNREADY_MILLIS, Partitions
from api.live.view import LiveView, partitions_ready
from schemas.live import PartitionStatus
from tests.api.live.messages import status

NOW = 1_800_000_000_000


def heard(*statuses: PartitionStatus, expected: int = 0) -> Partitions:
    partitions = Partitions(lambda: expected)
    for one in statuses:
        partitions.apply(one)
    return partitions


def test_state_is_the_worst_of_any_partition() -> None:
    assert heard(status(NOW), status(NOW, partition=1)).state(NOW) == "live"
    assert heard(status(NOW), status(NOW, partition=1, state="rebuilding")).state(NOW) == "rebuilding"
    dead = status(NOW - STALE_MILLIS - 1, partition=1)
    assert heard(status(NOW, state="rebuilding"), dead).state(NOW) == "stale"
    assert heard(status(NOW), expected=2).state(NOW) == "stale"
    assert heard().state(NOW) == "stale"


def test_partitions_that_the_topic_has_not_any_more_do_not_count() -> None:
    partitions = heard(status(NOW), status(NOW - 60_000, partition=7), expected=1)
    assert partitions.state(NOW) == "live"
    assert partitions.as_of() == NOW
    assert partitions.not_ready(NOW) == []


def test_as_of_is_the_least_instant_up_to_which_all_is_counted() -> None:
    assert heard(status(NOW - 700), status(NOW, partition=1)).as_of() == NOW - 700
    assert heard(status(NOW), expected=2).as_of() is None
    assert heard().as_of() is None


def test_as_of_of_a_partition_that_lags_stays_where_it_was_until_the_lake_passes_it() -> None:
    partitions = heard(status(NOW), status(NOW + 60_000, position=5, end=9, last_timestamp=NOW - 5))
    assert partitions.as_of() == NOW
    partitions.apply(status(NOW + 61_000, position=7, end=9, last_timestamp=NOW + 30_000))
    assert partitions.as_of() == NOW + 30_000


def test_as_of_does_not_move_while_rebuilding() -> None:
    partitions = heard(status(NOW), status(NOW + 20_000, state="rebuilding", last_timestamp=NOW + 10_000))
    assert partitions.as_of() == NOW


def test_a_new_owner_behind_the_dead_one_is_heard() -> None:
    partitions = heard(status(NOW - 10_000, position=1000), status(NOW, position=800, state="rebuilding"))
    assert partitions.state(NOW) == "rebuilding"


def test_a_log_counts_when_its_owner_knows_all_of_it() -> None:
    partitions = heard(status(NOW), status(NOW + 2, chain="new", state="rebuilding"))
    assert partitions.chains() == {0: "cluster/topic"}
    partitions.apply(status(NOW + 3, chain="new"))
    partitions.apply(status(NOW))
    assert partitions.chains() == {0: "new"}


def test_a_partition_behind_its_log_is_not_live() -> None:
    partitions = heard(status(NOW), status(NOW + BEHIND_MILLIS + 1, position=5, end=9))
    assert partitions.are_live()
    assert partitions.state(NOW + BEHIND_MILLIS + 1) == "rebuilding"
    partitions.apply(status(NOW + BEHIND_MILLIS + 2, position=9))
    assert partitions.state(NOW + BEHIND_MILLIS + 2) == "live"


def test_a_partition_silent_beside_the_others_holds_them_up() -> None:
    partitions = heard(status(NOW), status(NOW + 2000, partition=1))
    assert partitions.are_live()
    partitions.apply(status(NOW + 2001, partition=1))
    assert not partitions.are_live()
    assert partitions.state(NOW + 2001) == "live"
    assert not heard(status(NOW), expected=2).are_live()


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (status(NOW - UNREADY_MILLIS), None),
        (status(NOW - UNREADY_MILLIS - 1000), "partition 0 has had no owner for 31 s"),
        (
            status(NOW, advanced_at=NOW - 40_000),
            "partition 0 has not advanced for 40 s (worker-0)",
        ),
        (status(NOW, position=5, end=9_000_000), None),
        (status(NOW, flush_error="disk\nfull"), "partition 0 cannot be flushed: disk full"),
    ],
)
def test_reasons_for_not_being_ready(one: PartitionStatus, reason: str | None) -> None:
    assert heard(one).not_ready(NOW) == ([] if reason is None else [reason])


def test_not_ready_before_anything_was_heard() -> None:
    view = LiveView(lambda: 2)
    assert partitions_ready(view, NOW) == ["live counters are not read yet"]
    view.is_complete = True
    assert partitions_ready(view, NOW) == ["partition 0 has no owner yet", "partition 1 has no owner yet"]
    assert heard().not_ready(NOW) == ["no worker has reported yet"]
    view.apply(status(NOW))
    view.apply(status(NOW, partition=1))
    assert partitions_ready(view, NOW) == []
