"""Who may import whom: arrows go down only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rfad_sklearn

ROOT = Path(rfad_sklearn.__file__).parent
LAYERS = {
    "_version": 0,
    "_specs": 0,
    "_preprocess": 0,
    "_device": 0,
    "coreset": 0,
    "_files": 0,
    "_rectifiers": 1,
    "random_features": 1,
    "_arc_cosine": 1,
    "_pixel_pairs": 1,
    "_exact_layers": 1,
    "_finite_network": 1,
    "_augment": 1,
    "_exact_kernels": 1,
    "_ridge": 1,
    "_resident": 1,
    "_optimizers": 1,
    "_teacher": 2,
    "_distillation": 2,
    "_label_solve": 1,
    "_objectives": 2,
    "_feature_objective": 2,
    "_gradient_matching": 2,
    "_training": 2,
    "_selection": 2,
    "_checkpoint": 2,
    "_solvers": 2,
    "_inputs": 3,
    "preprocessing": 3,
    "datasets": 3,
    "plotting": 3,
    "distillers": 3,
    "_agreement": 3,
    "_callbacks": 3,
    "_classifier": 3,
    "_explaining": 3,
    "kernel_ridge": 3,
    "finite_network": 3,
    "kernels": 3,
}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def name_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path):
    """Absolute names of all that a module imports."""
    package = ["rfad_sklearn", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            parts = [*base, *([node.module] if node.module else [])]
            if (node.module and node.level != 1) or node.module:
                yield ".".join(parts)
            else:
                yield from (".".join([*parts, alias.name]) for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_go_down_only(path):
    layer = LAYERS[name_of(path)]
    for target in imports(path):
        parts = target.split(".")
        if parts[0] == "rfad_sklearn" and len(parts) > 1:
            assert LAYERS[parts[1]] <= layer, f"{path.name} imports {target}"


@pytest.mark.parametrize("path", [p for p in MODULES if LAYERS[name_of(p)] < 3 and p.stem != "_selection"], ids=lambda p: p.stem)
def test_no_sklearn_below_the_estimators(path):
    assert not any(target.split(".")[0] == "sklearn" for target in imports(path))


def test_specs_know_no_torch():
    assert "torch" not in {target.split(".")[0] for target in imports(ROOT / "_specs.py")}


def test_import_has_no_side_effects():
    code = (
        "import torch, numpy, sys; a = torch.get_rng_state(); n = torch.get_num_threads(); s = numpy.random.get_state()[1].copy()\n"
        "import rfad_sklearn\n"
        "assert torch.equal(a, torch.get_rng_state()) and n == torch.get_num_threads()\n"
        "assert (s == numpy.random.get_state()[1]).all()\n"
        "lazy = {'matplotlib', 'imblearn'} & set(sys.modules)\n"
        "assert not lazy, lazy\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
