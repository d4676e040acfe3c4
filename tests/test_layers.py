"""Who may import whom, in folders and files, and how long files and functions may be.

Arrows go down only between folders, and never in a circle between files.
"""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import rfad_sklearn

ROOT = Path(rfad_sklearn.__file__).parent
# From bottom to top. A folder, or a module beside the folders, imports from its own layer only
# itself.
LAYERS = [
    {"_version", "_utils"},
    {"architectures"},
    {"_networks", "_kernels", "coreset", "preprocessing", "datasets"},
    {"_ridge", "_plotting", "kernels"},
    {"_surrogates"},
    {"_optimization", "plotting"},
    {"_planning"},
    {"classifiers", "distillers"},
    {"__init__"},
]
HEIGHT = {name: height for height, layer in enumerate(LAYERS) for name in layer}
MODULES = sorted(ROOT.rglob("*.py"))
# Lines of a file, and of a function without its docstring, that one reads in one go.
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
# Columns of a line, as in pyproject.toml.
MAX_COLUMNS = 100


def module_name(path):
    """Dotted name below the package; a folder's ``__init__`` has the folder's."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


NAMES = {module_name(path) for path in MODULES}


def imports(path):
    """Absolute names of all that a module imports, those of this package by their files."""
    package = ["rfad_sklearn", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{source}.{alias.name}"
                yield full if full.removeprefix("rfad_sklearn.") in NAMES else source


def own_imports(path):
    """Modules of this package that one of its modules imports."""
    names = {
        target.removeprefix("rfad_sklearn.")
        for target in imports(path)
        if target.startswith("rfad_sklearn.")
    }
    return names - {module_name(path)}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_arrows_go_down_only(path):
    own = module_name(path).split(".")[0]
    for target in own_imports(path):
        top = target.split(".")[0]
        assert top == own or HEIGHT[top] < HEIGHT[own], f"{module_name(path)} imports {target}"


def test_files_import_each_other_in_no_circle():
    graph = {module_name(path): own_imports(path) for path in MODULES}
    # Raises where there is a circle, and names it.
    list(graphlib.TopologicalSorter(graph).static_order())


def test_every_module_has_its_place():
    assert {name.split(".")[0] for name in NAMES} == set(HEIGHT)


def length_without_docstring(function):
    """Lines from the ``def`` to the end, less those of the docstring."""
    length = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function, clean=False) is None:
        return length
    docstring = function.body[0]
    return length - (docstring.end_lineno - docstring.lineno + 1)


def functions(path):
    """Functions and methods of a file but ``__init__``: constructors only name parameters."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name != "__init__":
            yield node


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_files_and_functions_are_short(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= MAX_FILE_LINES
    assert [n for n, line in enumerate(lines, 1) if len(line) > MAX_COLUMNS] == []
    lengths = {node.name: length_without_docstring(node) for node in functions(path)}
    assert {name: n for name, n in lengths.items() if n > MAX_FUNCTION_LINES} == {}


def test_every_folder_says_what_lives_there():
    for path in ROOT.rglob("__init__.py"):
        docstring = ast.get_docstring(ast.parse(path.read_text()))
        assert docstring, f"{path} has no docstring"
        assert len(docstring.splitlines()) <= 5, f"{path} has a long docstring"


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in MODULES
        if module_name(path).split(".")[0] in ("_networks", "_kernels", "_ridge")
    ],
    ids=module_name,
)
def test_no_sklearn_in_the_maths(path):
    assert not any(target.split(".")[0] == "sklearn" for target in imports(path))


def test_architectures_know_no_torch():
    assert "torch" not in {target.split(".")[0] for target in imports(ROOT / "architectures.py")}


def test_import_has_no_side_effects():
    code = (
        "import torch, numpy, sys\n"
        "a, n = torch.get_rng_state(), torch.get_num_threads()\n"
        "s = numpy.random.get_state()[1].copy()\n"
        "import rfad_sklearn\n"
        "assert torch.equal(a, torch.get_rng_state()) and n == torch.get_num_threads()\n"
        "assert (s == numpy.random.get_state()[1]).all()\n"
        "lazy = {'matplotlib', 'imblearn'} & set(sys.modules)\n"
        "assert not lazy, lazy\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
