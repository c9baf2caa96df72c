"""The visitor's hash, and the salts that make it forgettable."""

import hashlib
import hmac
import multiprocessing
import os
from datetime import UTC, date, datetime, timedelta, timezone
from multiprocessing.queues import Queue
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.ingest.visitor import SALT_BYTES, SaltStore, is_dead, salt_day, visitor_hash
from storage.errors import Unavailable

_SALT = bytes(range(32))
_NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_hash_is_a_keyed_sha256_of_project_address_and_agent() -> None:
    expected = hmac.new(_SALT, b"7\x00203.0.113.9\x00Mozilla/5.0", hashlib.sha256).hexdigest()
    assert visitor_hash(_SALT, 7, "203.0.113.9", "Mozilla/5.0") == f"v_{expected}"


def test_every_part_makes_another_visitor() -> None:
    hashes = {
        visitor_hash(_SALT, 7, "203.0.113.9", "Mozilla/5.0"),
        visitor_hash(bytes(32), 7, "203.0.113.9", "Mozilla/5.0"),
        visitor_hash(_SALT, 8, "203.0.113.9", "Mozilla/5.0"),
        visitor_hash(_SALT, 7, "203.0.113.8", "Mozilla/5.0"),
        visitor_hash(_SALT, 7, "203.0.113.9", "Mozilla/4.0"),
        visitor_hash(_SALT, 7, "203.0.113.9", None),
        visitor_hash(_SALT, 7, None, "Mozilla/5.0"),
        visitor_hash(_SALT, 72, "03.0.113.9", "Mozilla/5.0"),
    }
    assert len(hashes) == 8


@given(st.integers(), st.none() | st.text(), st.none() | st.text(st.characters(exclude_categories=())))
def test_the_hash_never_raises_and_never_shows_what_went_in(project: int, ip: str | None, agent: str | None) -> None:
    made = visitor_hash(_SALT, project, ip, agent)
    assert made.startswith("v_")
    assert len(bytes.fromhex(made[2:])) == 32


def test_the_salt_of_a_moment_is_that_of_its_utc_day() -> None:
    assert salt_day(datetime(2026, 3, 14, 23, 59, 59, tzinfo=UTC)) == date(2026, 3, 14)
    assert salt_day(datetime(2026, 3, 15, 1, tzinfo=timezone(timedelta(hours=2)))) == date(2026, 3, 14)


def test_a_salt_dies_48_hours_after_its_day_began() -> None:
    midnight = datetime(2026, 3, 16, tzinfo=UTC)
    assert not is_dead(date(2026, 3, 14), midnight - timedelta(microseconds=1))
    assert is_dead(date(2026, 3, 14), midnight)


def test_a_day_has_one_salt_for_every_process(tmp_path: Path) -> None:
    first, second = SaltStore(tmp_path), SaltStore(tmp_path)
    salt = first.salt(_NOON)
    assert len(salt) == SALT_BYTES
    assert first.salt(_NOON + timedelta(hours=11)) == salt
    assert second.salt(_NOON) == salt
    assert _names(tmp_path) == ["visitor-salt-2026-03-14"]
    assert (tmp_path / "visitor-salt-2026-03-14").stat().st_mode & 0o777 == 0o600


def test_the_next_day_has_another_salt_and_the_day_before_is_still_there(tmp_path: Path) -> None:
    store = SaltStore(tmp_path)
    salt = store.salt(_NOON)
    assert store.salt(_NOON + timedelta(days=1)) != salt
    assert store.salt(_NOON) == salt  # a clock set back over midnight


def test_dead_salts_are_deleted_when_a_day_begins(tmp_path: Path) -> None:
    store = SaltStore(tmp_path)
    store.salt(_NOON)
    (tmp_path / "visitor-salt-2026-03-14.0123456789abcdef").write_bytes(b"left by a killed process")
    (tmp_path / "visitor-salt-nonsense").write_bytes(b"not ours")
    store.salt(_NOON + timedelta(days=1))
    assert "visitor-salt-2026-03-14" in _names(tmp_path)
    store.salt(_NOON + timedelta(days=2))
    assert _names(tmp_path) == ["visitor-salt-2026-03-15", "visitor-salt-2026-03-16", "visitor-salt-nonsense"]


def test_without_visitors_a_purge_forgets_the_salt_in_memory_too(tmp_path: Path) -> None:
    store = SaltStore(tmp_path)
    salt = store.salt(_NOON)
    store.purge(datetime(2026, 3, 15, 23, 59, tzinfo=UTC))
    assert _names(tmp_path) == ["visitor-salt-2026-03-14"]
    store.purge(datetime(2026, 3, 16, tzinfo=UTC))
    assert _names(tmp_path) == []
    assert salt not in vars(store).values()


def _race(directory: str, gate: "multiprocessing.synchronize.Barrier", salts: "Queue[bytes]") -> None:
    store = SaltStore(Path(directory))
    gate.wait(30)
    salts.put(store.salt(_NOON))


def test_processes_that_race_for_the_first_salt_agree(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    gate, salts = spawn.Barrier(4), spawn.Queue()
    racers = [spawn.Process(target=_race, args=(str(tmp_path), gate, salts)) for _ in range(4)]
    for racer in racers:
        racer.start()
    seen = {salts.get(timeout=60) for _ in racers}
    for racer in racers:
        racer.join(30)
        racer.close()
    salts.close()
    salts.join_thread()
    assert len(seen) == 1
    assert _names(tmp_path) == ["visitor-salt-2026-03-14"]


def test_the_loser_of_a_race_takes_the_winners_salt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    winner = SaltStore(tmp_path).salt(_NOON)
    with monkeypatch.context() as blind:
        blind.setattr(Path, "exists", lambda _: False)  # it looked before the winner's link
        assert SaltStore(tmp_path).salt(_NOON) == winner
    assert _names(tmp_path) == ["visitor-salt-2026-03-14"]


def test_a_disk_that_takes_no_salt_is_unavailable_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    store = SaltStore(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(Unavailable, match="No space left on device"):
            store.salt(_NOON)
    assert _names(tmp_path) == []
    assert len(store.salt(_NOON)) == SALT_BYTES


def test_a_missing_directory_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file or directory"):
        SaltStore(tmp_path / "absent").salt(_NOON)


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
def test_a_damaged_salt_is_never_used(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "visitor-salt-2026-03-14").write_bytes(content)
    store = SaltStore(tmp_path)
    with pytest.raises(Unavailable, match="visitor-salt-2026-03-14 is damaged: delete the file"):
        store.salt(_NOON)
    os.unlink(tmp_path / "visitor-salt-2026-03-14")
    assert len(store.salt(_NOON)) == SALT_BYTES
