"""Every script of ``benchmarks/`` starts, and makes one cheap step or cell."""

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
# Something that the output has when the script did its work.
PRINTS = {
    "ablation": "'features': ",
    "any_model": "any seed 987: ",
    "all_rows": "accuracy on ",
    "any_model_time": "| small | 20 | ",
    "baselines": "'ridge': ",
    "calibration": " -> ",
    "centering": "| 1 | ",
    "corruption": "'row_distance': ",
    "exact_kernel": "GB above the inputs",
    "fashion_mnist": "test accuracy, exact NTK: ",
    "feature_gap": "| 1 | 8 | ",
    "fingerprints": "kip rows, ntk",
    "kill_and_resume": "same bits as the undisturbed run: True",
    "kip_digits": "| 1 | RFAD | solved | 2 | ",
    "paper_table": "all per class, all, ",
    "picture": "'distilled': ",
    "raw_units": "KNeighborsClassifier(1)  coreset ",
    "rfad_vs_kip": "| 10 | ",
    "scaling": "pool full, ",
    "small_data": "'learned labels'",
    "step_time": "| 10 | default | ",
    "tables": "features rfad seed 987: ",
    "time_to_accuracy": "paper, 2 steps: ",
}
# Those of several seconds: processes of their own, several models, or a profiler.
SLOW = {
    "ablation",
    "any_model",
    "baselines",
    "corruption",
    "kill_and_resume",
    "paper_table",
    "picture",
    "step_time",
}


@pytest.fixture
def scripts(monkeypatch, tmp_path):
    """Temporary current folder, with the scripts importable as for each other."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == FOLDER:
            del sys.modules[name]


def state_of_checkout():
    """Sizes and times of the files that benchmarks write to."""
    root = FOLDER.parent
    paths = [
        root / "README.md",
        *(FOLDER / "results").glob("*"),
        *(path for path in (root / "docs").rglob("*") if path.suffix in (".md", ".png")),
    ]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in SCRIPTS],
)
def test_starts(name, scripts, capsys):
    before = state_of_checkout()
    importlib.import_module(name).main(["--smoke"])
    # A new script needs a line in PRINTS.
    assert PRINTS[name] in capsys.readouterr().out
    assert state_of_checkout() == before
    assert not list(scripts.iterdir())


def test_a_page_without_marks_is_left_as_it_is(scripts, capsys):
    results = importlib.import_module("_results")
    with results.sandbox():
        results.place("privacy").write_text("No table here.\n")
        results.replace_marked("privacy", ("<!-- from -->", "<!-- to -->"), "| 1 |")
        assert results.place("privacy").read_text() == "No table here.\n"
        assert "was not written" in capsys.readouterr().err
        results.place("privacy").write_text("a <!-- from --> b <!-- to --> c\n")
        results.replace_marked("privacy", ("<!-- from -->", "<!-- to -->"), "| 1 |")
        page = "a <!-- from -->\n\n| 1 |\n\n<!-- to --> c\n"
        assert results.place("privacy").read_text() == page


def test_every_variant_of_the_ablation_is_of_known_parameters(scripts):
    from rfad_sklearn import RFADDistiller

    known = set(RFADDistiller().get_params(deep=False))
    for change in importlib.import_module("ablation").CHANGES:
        assert set(change) <= known
