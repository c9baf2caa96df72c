"""What a terminal or a pipe gets."""

import os
import subprocess
import sys

import pytest

from api.cli.output import complain, say_table


def test_a_complaint_is_one_line_whatever_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    complain("the disk\n  is full")

    assert capsys.readouterr().err == "streamgauge: the disk is full\n"


def test_cells_stay_whole_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    say_table(("A", "B"), [("x" * 150, "[red]y")])

    assert capsys.readouterr().out.splitlines()[1].split() == ["x" * 150, "[red]y"]


def test_an_announcement_to_a_full_pipe_is_dropped() -> None:
    code = """if True:
        import sys
        from api.cli.output import announce
        for number in range(20000):
            announce(str(number))
        sys.stderr.write("on")
    """
    command = [sys.executable, "-c", code]
    read, write = os.pipe()
    try:
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=60, check=True)
        assert done.stderr == b"on"
        assert os.read(read, 4) == b"0\n1\n"
    finally:
        os.close(read)
        os.close(write)
