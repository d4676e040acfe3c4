"""Files of measured cells, and the pages that are made of them.

A cell is one JSON line, appended as soon as it is measured, so that an interrupted table goes on
where it was.
"""

import contextlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

# Everything that a benchmark writes into the checkout, relative to its root.
PLACES = {
    "results": "benchmarks/results",
    "README": "README.md",
    "paper table": "docs/notes/results.md",
    "small data": "docs/notes/small_data.md",
    "ablation": "docs/notes/ablation.md",
    "baselines": "docs/notes/baselines.md",
    "any model": "docs/notes/any_model.md",
    "any model picture": "docs/notes/any_model.png",
    "tables": "docs/notes/tables.md",
    "privacy": "docs/privacy.md",
    "corruption picture": "docs/corruption.png",
}
_CHECKOUT = Path(__file__).resolve().parents[1]
_root = _CHECKOUT


def place(name):
    """Path of one of the :data:`PLACES`; its folder is made where it is missing."""
    path = _root / PLACES[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def results_file(name):
    """Path of a file of cells."""
    return place("results") / f"{name}.jsonl"


@contextlib.contextmanager
def sandbox(wanted=True):
    """Read and write a copy of all places in a temporary folder, which is then removed."""
    global _root
    if not wanted:
        yield
        return
    before = _root
    with tempfile.TemporaryDirectory() as folder:
        for name in PLACES.values():
            source, target = before / name, Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            elif source.exists():
                shutil.copy(source, target)
        _root = Path(folder)
        try:
            yield
        finally:
            _root = before


def read(name):
    """Cells that were measured before."""
    path = results_file(name)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def missing(name, cells):
    """Those of the cells that were not measured yet."""
    for cell in cells:
        if not any(all(old.get(key) == value for key, value in cell.items()) for old in read(name)):
            yield cell


def append(name, record):
    """Keep what a cell gave."""
    path = results_file(name)
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")


def write_page(name, parts):
    """Write a whole page of lines or paragraphs, and say where."""
    place(name).write_text("\n".join(parts))
    print(f"wrote {PLACES[name]}")


def replace_marked(name, marks, text):
    """Put text between the two marks of a page; a page without them is left as it is."""
    path = place(name)
    page = path.read_text() if path.exists() else ""
    before, found, rest = page.partition(marks[0])
    _, ended, after = rest.partition(marks[1])
    if not (found and ended):
        print(
            f"{PLACES[name]} has no {marks[0]!r} and {marks[1]!r}: its table was not written.",
            file=sys.stderr,
        )
        return
    path.write_text(f"{before}{marks[0]}\n\n{text}\n\n{marks[1]}{after}")
    print(f"wrote the table of {PLACES[name]}")
