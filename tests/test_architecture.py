"""The house rules that no type checker sees: packages, names, and who may import whom."""

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("api", "processors", "storage", "schemas")


def _folders(top: str) -> list[Path]:
    found = [ROOT / top, *(path for path in (ROOT / top).rglob("*") if path.is_dir())]
    return [path for path in found if path.name != "__pycache__" and any(path.glob("*.py"))]


@pytest.mark.parametrize("top", [*PACKAGES, "tests", "benchmarks"])
def test_every_folder_is_a_package_with_one_sentence(top: str) -> None:
    """import-linter does not see a folder without `__init__.py`: its imports would escape every contract."""
    for folder in _folders(top):
        init = folder / "__init__.py"
        assert init.exists(), f"{folder.relative_to(ROOT)} has no __init__.py"
        text = init.read_text().strip()
        assert text.startswith('"""'), f"{init.relative_to(ROOT)} has no docstring"
        assert text.endswith('"""'), f"{init.relative_to(ROOT)} holds more than a docstring"


def test_nothing_hides_in_a_folder_without_python_files_of_its_own() -> None:
    for top in PACKAGES:
        for path in (ROOT / top).rglob("*.py"):
            for folder in path.relative_to(ROOT).parents:
                assert folder == Path() or (ROOT / folder / "__init__.py").exists(), f"{folder} has no __init__.py"


def test_no_other_distribution_claims_our_names() -> None:
    claimed = packages_distributions()
    for name in PACKAGES:
        assert set(claimed.get(name, ["streamgauge"])) == {"streamgauge"}


def test_tests_are_a_package() -> None:
    """Without this file pytest puts `tests/` first on the path, and `import api` finds the tests."""
    assert (ROOT / "tests" / "__init__.py").exists()


def test_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]
    assert " 0 broken" in result.stdout
