"""What the README, the guide and the examples show, run as written, on real data; links resolve."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import rfad_sklearn

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
# Pages of the guide: no logs of trials, and not those that only include another file.
GUIDE = sorted(path for path in DOCS.glob("*.md") if "{include}" not in path.read_text())
LINKED = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(DOCS.rglob("*.md")),
]
MAX_README_LINES = 130


def snippets_of(path):
    """Python code blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)


def run_snippets(path):
    """Names that a page's code blocks leave behind, run one after another."""
    names = {}
    for number, snippet in enumerate(snippets_of(path), 1):
        exec(compile(snippet, f"{path.name}, block {number}", "exec"), names)
    return names


def prose_of(path):
    """Text of a page without code, in which a link is no link."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`]*`", lambda code: code[0] if "<" in code[0] else "", text)


def roles_of(path, *kinds):
    """Targets of a page's roles of some kinds."""
    roles = re.findall(rf"\{{(?:{'|'.join(kinds)})\}}`([^`]+)`", path.read_text())
    return [re.sub(r"^.*<(.*)>$", r"\1", role, flags=re.DOTALL) for role in roles]


def anchors_of(path):
    """Anchors that the headings of a page get, on a forge and on the site alike."""
    headings = re.findall(r"^#+ +(.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rfad_sklearn._planning.budget.DEFAULT_MAX_ITER", 5)
    return tmp_path


@pytest.fixture
def closed_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.mark.slow
def test_readme_snippets_run_one_after_another(here):
    pytest.importorskip("imblearn")
    names = run_snippets(ROOT / "README.md")
    assert len(snippets_of(ROOT / "README.md")) >= 3
    assert (here / "coreset.npz").is_file()
    assert names["probabilities"].shape == (len(names["X_test"]), 10)


@pytest.mark.parametrize(
    "page", [path for path in GUIDE if snippets_of(path)], ids=lambda path: path.stem
)
@pytest.mark.slow
def test_guide_snippets_run_one_after_another(page, here, closed_figures):
    pytest.importorskip("imblearn")
    pytest.importorskip("matplotlib").use("agg")
    run_snippets(page)


def test_the_guide_has_snippets():
    with_snippets = {path.stem for path in GUIDE if snippets_of(path)}
    assert {"index", "choosing", "using_coresets", "long_runs", "kernels"} <= with_snippets


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= MAX_README_LINES


@pytest.mark.parametrize("page", LINKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_pages_resolve(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors_of(target), f"{page.name}: {link}"


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda path: path.stem)
def test_document_roles_resolve(page):
    for name in roles_of(page, "doc"):
        if name.startswith("auto_examples/"):
            # The gallery writes these pages from the examples.
            script = name.removeprefix("auto_examples/")
            target = ROOT / "examples" / ("README.rst" if script == "index" else f"{script}.py")
        else:
            target = page.parent / f"{name}.md"
        assert target.is_file(), f"{page.name}: {name}"


@pytest.mark.parametrize("page", GUIDE, ids=lambda path: path.stem)
def test_roles_name_public_objects(page):
    """A class or method that the guide links to exists."""
    for name in roles_of(page, "class", "meth", "func"):
        value = rfad_sklearn
        for part in name.removeprefix("~").removeprefix("rfad_sklearn.").split("."):
            value = getattr(value, part)


def test_the_guide_names_only_existing_parameters():
    """Removed options stay out of the guide; the notes and the changelog may speak of them."""
    removed = r"warm_start|refresh_every|debias|platt|\blabels_\b|mirror|\bmethod="
    for page in [ROOT / "README.md", *GUIDE]:
        assert not re.findall(removed, page.read_text()), page.name


def test_citation_names_this_version():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {rfad_sklearn.__version__}\n" in citation


@pytest.mark.slow
def test_the_first_example_runs(here, capsys):
    """`make docs` runs all of them, and fails where one does."""
    runpy.run_path(str(ROOT / "examples" / "plot_digits_quickstart.py"))
    distilled, random_rows = (
        float(number) for number in re.findall(r"images: ([01]\.\d{3})", capsys.readouterr().out)
    )
    assert distilled > max(random_rows + 0.1, 0.9)


@pytest.mark.slow
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
