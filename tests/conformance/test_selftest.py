"""The start is refused where the storage would let two writers make one version."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.cli.doctor import Patient, examine
from api.settings import ApiSettings
from storage.errors import LakeBroken
from storage.lake.commit import FencedTable, Span
from storage.lake.place import S3Place
from storage.lake.selftest import check_fence
from storage.lake.tables import EVENTS, create_tables, has_tables
from storage.settings import StorageSettings
from tests.integration.system import COMMAND, free_port, wait_until
from tests.s3 import Store, reaching
from tests.storage.lakes import CHAIN


@pytest.fixture
def careless(s3_server: Store) -> Iterator[Store]:
    """A store that is there, and takes every put."""
    port = free_port()
    command = [sys.executable, "-m", "tests.conformance.careless_store", str(port), s3_server.endpoint]
    with subprocess.Popen(command) as process:
        store = Store(f"http://127.0.0.1:{port}")
        try:
            wait_until(lambda: _answers(store), 30)
            with reaching(store):
                yield store
        finally:
            process.kill()


def _answers(store: Store) -> bool:
    try:
        with urllib.request.urlopen(f"{store.endpoint}/gauge", timeout=5):
            return True
    except OSError:
        return False


def _prepare(data: Path, store: Store, place: S3Place) -> "subprocess.CompletedProcess[str]":
    named = {"STREAMGAUGE_LAKE_URI": str(place), "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    environment = {**os.environ, **store.environment, **named}
    command = [COMMAND, "prepare", "--data-dir", str(data)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_a_store_without_conditional_put_is_refused_before_any_table_is_made(careless: Store, tmp_path: Path) -> None:
    place = careless.place()

    done = _prepare(tmp_path, careless, place)

    assert done.returncode == 1
    assert f"the storage at {place} lets two writers make the same version" in done.stderr
    assert not has_tables(place)


def test_doctor_tells_a_store_without_conditional_put(careless: Store, tmp_path: Path) -> None:
    place = careless.place()
    create_tables(place)
    settings = ApiSettings(data_dir=tmp_path, lake_uri=str(place))

    found = {(finding.subject, finding.state): finding.message for finding in examine(Patient(settings, None))}

    assert "events at version 0" in found["lake", "ok"]
    assert "lets two writers" in found["lake", "bad"]


def test_doctor_says_that_a_good_store_is_good(s3: Store, tmp_path: Path) -> None:
    place = s3.place()
    settings = ApiSettings(data_dir=tmp_path, lake_uri=str(place))
    assert f"no tables at {place} yet" in _said(settings, "lake", "note")
    create_tables(place)

    assert "refuses the second" in _said(settings, "lake's storage", "ok")
    assert "equations" in _said(settings, "audit", "ok")


def _said(settings: ApiSettings, subject: str, state: str) -> str:
    findings = examine(Patient(settings, None))
    return next(finding.message for finding in findings if (finding.subject, finding.state) == (subject, state))


def test_a_store_that_is_away_is_told_in_one_line(tmp_path: Path) -> None:
    nobody = Store(f"http://127.0.0.1:{free_port()}")

    done = _prepare(tmp_path, nobody, nobody.place())

    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "cannot be written" in line
    assert "check the bucket, AWS_ENDPOINT_URL" in line


def test_a_disk_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file in the way")

    with pytest.raises(LakeBroken, match="cannot be written") as caught:
        check_fence(tmp_path / "lake")
    assert "AWS_" not in str(caught.value)


@pytest.mark.parametrize("uri", ["gs://bucket/lake", "s3://", "s3://bucket/with space", "/data/lake", "s3://UPPER/x"])
def test_what_is_no_place_for_a_lake_is_refused_by_name(uri: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/prefix"):
        StorageSettings(lake_uri=uri)


def test_a_lake_is_in_the_data_directory_unless_it_is_named(tmp_path: Path) -> None:
    assert StorageSettings(data_dir=tmp_path).lake_place == str(tmp_path / "lake")
    assert StorageSettings(data_dir=tmp_path, lake_uri="").lake_place == str(tmp_path / "lake")
    assert StorageSettings(data_dir=tmp_path, lake_uri="s3://b-1/x/").lake_place == "s3://b-1/x/"


def test_two_stale_handles_alone_would_not_have_told(careless: Store) -> None:
    """Why the self-test races: delta-rs lists the other's version, whatever the store does with conditions."""
    place = careless.place()
    create_tables(place)
    a, b = FencedTable(place, "events", CHAIN), FencedTable(place, "events", CHAIN)

    assert a.append(EVENTS.empty_table(), {0: Span(None, 1)}, {}, "first") is None
    assert b.append(EVENTS.empty_table(), {0: Span(None, 1)}, {}, "second") is not None
