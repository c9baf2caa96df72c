"""`streamgauge tail` over what others wrote."""

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from api.cli.output import Failure
from api.cli.tail import RejectTail, project_number
from api.ingest.refusals import Refusals
from schemas.deadletters import DeadLetter
from schemas.live import Refusal
from storage.lake.commit import FencedTable, Span
from storage.lake.deadletters import dead_letters_table
from storage.lake.tables import create_tables
from storage.meta.engine import open_metadata
from storage.meta.initialisation import initialise
from storage.settings import DataDirectory, StorageSettings
from tests.factories import CHAIN


def test_refusals_and_dead_letters_that_come(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path).create()
    create_tables(directory.lake)
    refusals = Refusals(directory.logs)
    refusals.note(1, "bad_request", "before")
    refusals.close()
    with RejectTail(directory, directory.lake, list) as tail:
        assert tail.fresh() == []
        refusals.note(1, "payload_too_large", "Event too large", 4)
        refusals.close()
        [line] = tail.fresh()
        assert (line["reason"], line["index"]) == ("payload_too_large", 4)
        table = FencedTable(directory.lake, "dead_letters", CHAIN)
        letter = DeadLetter(0, 9, 1, "malformed", b"{secret", 1_771_800_000_000, "Malformed JSON", project=1)
        assert table.append(dead_letters_table([letter]), {0: Span(None, 10)}, {}, "test") is None
        assert tail.fresh() == [
            {
                "at": "2026-02-22T22:40:00.000Z",
                "project": 1,
                "index": 1,
                "reason": "malformed",
                "message": "Malformed JSON",
                "partition": 0,
                "offset": 9,
            }
        ]


def test_a_workers_word_is_shown_at_once_and_the_lakes_not_again(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path).create()
    create_tables(directory.lake)
    told: list[Refusal] = []
    with RejectTail(directory, directory.lake, lambda: told) as tail:
        received = 1_771_800_000_000
        told.append(Refusal(CHAIN, 0, 9, 1, received, "malformed", "Malformed JSON", 1))
        [line] = tail.fresh()
        assert (line["offset"], line["reason"], line["at"]) == (9, "malformed", "2026-02-22T22:40:00.000Z")
        table = FencedTable(directory.lake, "dead_letters", CHAIN)
        letters = [
            DeadLetter(0, 9, index, "malformed", b"{", received, "Malformed JSON", project=1) for index in (1, 2)
        ]
        assert table.append(dead_letters_table(letters), {0: Span(None, 10)}, {}, "test") is None
        # The worker's word of the second comes late, and that of the first again from a new worker.
        [line] = tail.fresh()
        assert line["index"] == 2
        told.append(Refusal(CHAIN, 0, 9, 2, received, "malformed", "Malformed JSON", 1))
        assert tail.fresh() == []


def tailed(data: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`tail` at a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        environment = os.environ | {
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{probe.getsockname()[1]}",
            "STREAMGAUGE_DATA_DIR": str(data),
        }
        return subprocess.run(
            [sys.executable, "-m", "api.cli", "tail", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def test_a_log_that_is_down_is_one_line(tmp_path: Path) -> None:
    done = tailed(tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("streamgauge: the log does not answer: ")


def test_a_project_has_many_names(tmp_path: Path) -> None:
    settings = StorageSettings(data_dir=tmp_path)
    directory = settings.directory.create()
    with open_metadata(settings.metadata_url, directory.key_revision) as metadata:
        metadata.migrate()
        made = initialise(metadata, "a@example.com", "correct horse", "shop", None, datetime.now(UTC))
        for name in (str(made.project.id), made.project.site_id, made.project.website_id, "shop"):
            assert project_number(settings, name) == made.project.id
        initialise(metadata, "b@example.com", "correct horse", "shop", None, datetime.now(UTC))
        with pytest.raises(Failure, match=r"several projects are called 'shop': shop \(1\), shop \(2\); name one by"):
            project_number(settings, "shop")


def test_a_project_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    settings = StorageSettings(data_dir=tmp_path)
    directory = settings.directory.create()
    with open_metadata(settings.metadata_url, directory.key_revision) as metadata:
        metadata.migrate()
        initialise(metadata, "a@example.com", "correct horse", "shop", None, datetime.now(UTC))
    done = tailed(tmp_path, "--project", "nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "streamgauge: there is no project 'nowhere'; there are: shop (1)\n"
    assert tailed(tmp_path / "empty", "--project", "nowhere").stderr.count("\n") == 1


def test_data_directory_without_a_lake(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"no lake at .*: run `streamgauge up` first"):
        RejectTail(DataDirectory(tmp_path), tmp_path / "lake", list)
