"""Files of measured cells: one JSON line each, appended at once, so that an interrupted table goes on where it was; tables made of them."""

import json
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


def read(name):
    """Cells that were measured before."""
    path = RESULTS / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def missing(name, cells):
    """Those of the cells that were not measured yet."""
    for cell in cells:
        if not any(all(old.get(key) == value for key, value in cell.items()) for old in read(name)):
            yield cell


def append(name, record):
    """Keep what a cell gave."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")


def replace_marked(path, marks, text):
    """Put text between the two marks of a file."""
    before, _, rest = path.read_text().partition(marks[0])
    _, _, after = rest.partition(marks[1])
    path.write_text(f"{before}{marks[0]}\n\n{text}\n\n{marks[1]}{after}")
