"""The counter of key changes, between objects and between processes."""

import multiprocessing
from pathlib import Path

import pytest

from storage.meta.revision import KeyRevision


def _bump_many(path: Path, times: int) -> None:
    revision = KeyRevision(path)
    for _ in range(times):
        revision.bump()
    revision.close()


def test_change_is_seen_by_everybody_who_opened_the_file(tmp_path: Path) -> None:
    one, other = KeyRevision(tmp_path / "keys.rev"), KeyRevision(tmp_path / "keys.rev")
    assert one.read() == other.read() == 0

    one.bump()

    assert one.read() == other.read() == 1
    one.close()
    other.close()


def test_counter_survives_and_lies_little_endian_in_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.rev"
    _bump_many(path, 259)

    assert path.read_bytes() == bytes([3, 1, 0, 0, 0, 0, 0, 0])
    assert path.stat().st_mode & 0o777 == 0o600
    again = KeyRevision(path)
    assert again.read() == 259
    again.close()


def test_no_change_of_several_processes_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "keys.rev"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_bump_many, args=(path, 400)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert int.from_bytes(path.read_bytes(), "little") == 1200


def test_missing_directory_is_an_error_and_close_may_be_repeated(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        KeyRevision(tmp_path / "none" / "keys.rev")
    revision = KeyRevision(tmp_path / "keys.rev")
    revision.close()
    revision.close()
