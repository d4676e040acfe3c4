"""What the README and the examples show, run as written, on real data."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rfad_sklearn.distillers._iterative._DEFAULT_MAX_ITER", 5)
    return tmp_path


def test_readme_snippets_run_one_after_another(here):
    pytest.importorskip("imblearn")
    names = {}
    for snippet in SNIPPETS:
        exec(snippet, names)
    assert len(SNIPPETS) >= 3
    assert (here / "coreset.npz").is_file()
    assert names["probabilities"].shape == (len(names["X_test"]), 10)


def test_the_first_example_runs(here, capsys):
    """`make docs` runs all of them, and fails where one does."""
    runpy.run_path(str(ROOT / "examples" / "plot_digits_quickstart.py"))
    distilled, random_rows = (
        float(number) for number in re.findall(r"images: ([01]\.\d{3})", capsys.readouterr().out)
    )
    assert distilled > max(random_rows + 0.1, 0.9)


def test_demo_distils_better_rows_than_it_was_given(here):
    script = (ROOT / "examples" / "demo.py").read_text().replace("MAX_ITER = ", "MAX_ITER = 40  # ")
    (here / "demo.py").write_text(script)
    out = subprocess.run(
        [sys.executable, "demo.py"], check=True, capture_output=True, text=True
    ).stdout
    scores = {
        name: [float(s) for s in re.findall(r"([\d.]+)%", line)]
        for line in out.splitlines()
        for name in [line.strip()[:6]]
    }
    assert scores["distil"][0] > scores["random"][0] + 10
    assert {p.name for p in (here / "demo_output").iterdir()} == {
        f"digits_ipc{ipc}.{suffix}" for ipc in (1, 10) for suffix in ("npz", "png")
    }


def test_the_commands_of_the_readme_exist():
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for command in re.findall(r"^make ([a-z-]+)", readme, re.MULTILINE):
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), command
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text()
