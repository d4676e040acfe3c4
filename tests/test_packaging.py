"""The metadata: versions that are declared are versions that are tested."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
# Older wheels bring gigabytes of GPU packages, so that its floor was tried by hand.
TRIED_BY_HAND = {"torch"}


@pytest.fixture(scope="module")
def floors():
    """Lowest version that is declared, by package, of all that ``make test-oldest`` installs."""
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = list(project["dependencies"])
    for name in ("plot", "imblearn", "progress", "test"):
        declared += [line for line in extras[name] if not line.startswith(project["name"])]
    specifiers = {Requirement(line).name: Requirement(line).specifier for line in declared}
    lowest = {
        name: [each for each in spec if each.operator == ">="] for name, spec in specifiers.items()
    }
    return {name: Version(each[0].version) for name, each in lowest.items()}


def pins(name):
    lines = (ROOT / name).read_text().splitlines()
    found = (re.fullmatch(r"([\w.-]+)==(\S+)", line) for line in lines)
    return {match[1]: Version(match[2]) for match in found if match}


def test_every_floor_is_tested(floors):
    oldest = pins("constraints-oldest.txt")
    assert set(oldest) >= set(floors)
    assert {name: oldest[name] for name in floors if name not in TRIED_BY_HAND} == {
        name: floor for name, floor in floors.items() if name not in TRIED_BY_HAND
    }
    assert all(oldest[name] >= floors[name] for name in TRIED_BY_HAND)


def test_every_declared_package_is_pinned(floors):
    newest = pins("constraints.txt")
    assert all(newest[name] >= floor for name, floor in floors.items())


def test_both_environments_have_the_torch_whose_wheels_are_small():
    assert pins("constraints.txt")["torch"] == pins("constraints-oldest.txt")["torch"]
