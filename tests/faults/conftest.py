"""Fixtures of the fault tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.river import River, river_of


@pytest.fixture
def river(kafka: str, tmp_path: Path) -> Iterator[River]:
    """A topic of its own on the shared broker."""
    with river_of(kafka, tmp_path) as made:
        yield made
