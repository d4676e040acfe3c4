"""Small and awkward data: distilled, random and k-means rows of the same number, and all rows.

Defaults throughout. Each set is split into 70 % to fit and 30 % for evaluation, stratified, anew
for each seed; both sides use ``NNGPKernelRidge()``, tables by way of nothing else than its own
preprocessing. What a cell gives is appended at once to ``benchmarks/results/small_data.jsonl``, and
cells that are there are not run again; ``--render`` writes ``docs/notes/small_data.md`` from that
file::

    python benchmarks/small_data.py --seeds 0 1 2
    python benchmarks/small_data.py --render
"""

import functools
import time

import numpy as np
from _common import SMOKE_SETTINGS, command_line, machine, parse
from _evaluation import percent
from _results import append, missing, read, sandbox, write_page
from sklearn.datasets import (
    load_breast_cancer,
    load_iris,
    load_wine,
    make_classification,
    make_moons,
)
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import train_test_split

from rfad_sklearn import MLP, CoresetSelector, NNGPKernelRidge, RFADDistiller, __version__
from rfad_sklearn.datasets import load_digits_images


def _synthetic(n, classes, **settings):
    return functools.partial(
        make_classification,
        n_samples=n,
        n_classes=classes,
        n_clusters_per_class=1,
        random_state=0,
        **settings,
    )


DATA = {
    "iris": functools.partial(load_iris, return_X_y=True),
    "wine": functools.partial(load_wine, return_X_y=True),
    "breast cancer": functools.partial(load_breast_cancer, return_X_y=True),
    "digits": load_digits_images,
    "two moons": functools.partial(make_moons, 600, noise=0.2, random_state=0),
    "2 classes, 95 to 5": _synthetic(
        1000, 2, n_features=20, n_informative=8, weights=[0.95], flip_y=0, class_sep=0.8
    ),
    "20 classes of 15 rows": _synthetic(
        300, 20, n_features=30, n_informative=15, class_sep=1.5, flip_y=0
    ),
    "100 classes": _synthetic(6000, 100, n_features=40, n_informative=20, class_sep=2.0, flip_y=0),
}
METHODS = ("random", "kmeans", "distilled", "learned labels", "all rows")
HEAD = [
    "# Small and awkward data\n",
    "Balanced accuracy in % of `NNGPKernelRidge()` on 30 % of the rows, mean and standard "
    "deviation over splits: fitted on real rows,",
    "on rows distilled by `RFADDistiller(ipc=..., random_state=...)` and nothing else, on such "
    "rows with learned labels, and on all of the",
    "other 70 %. Written by `python benchmarks/small_data.py --render` from "
    "`benchmarks/results/small_data.jsonl`.\n",
]
# A seed that no recorded cell has, so that something is measured.
SMOKE = {"data": ["wine"], "ipc": [1], "seeds": [987]}


def fitted(cell, X, y, smoke):
    """The classifier of a cell."""
    seed = cell["seed"]
    clf, settings = NNGPKernelRidge(random_state=seed), {"ipc": cell["ipc"], "random_state": seed}
    if cell["method"] == "all rows":
        return clf.fit(X, y)
    if cell["method"] in ("distilled", "learned labels"):
        fast = {**SMOKE_SETTINGS, "architecture": MLP(width=16)} if smoke else {}
        learn_labels = cell["method"] == "learned labels"
        source = RFADDistiller(learn_labels=learn_labels, **{**fast, **settings})
    else:
        source = CoresetSelector(strategy=cell["method"], **settings)
    return clf.fit_coreset(source.fit(X, y).coreset_)


def run(args):
    """Measure what is missing."""
    print(machine(), flush=True)
    cells = (
        {"data": data, "ipc": 0 if method == "all rows" else ipc, "method": method, "seed": seed}
        for seed in args.seeds
        for data in args.data
        for ipc in args.ipc
        for method in METHODS
    )
    for cell in missing("small_data", cells):
        X, y = DATA[cell["data"]]()
        X, X_eval, y, y_eval = train_test_split(
            X, y, stratify=y, test_size=0.3, random_state=cell["seed"]
        )
        begin = time.monotonic()
        predicted = fitted(cell, X, y, args.smoke).predict(X_eval)
        result = {
            "accuracy": float(accuracy_score(y_eval, predicted)),
            "balanced": float(balanced_accuracy_score(y_eval, predicted)),
            "seconds": time.monotonic() - begin,
        }
        facts = {
            "n_rows": len(X),
            "n_eval": len(X_eval),
            "machine": machine(),
            "version": __version__,
        }
        append("small_data", {**cell, **result, **facts})
        print(cell, {name: round(value, 4) for name, value in result.items()}, flush=True)


def render():
    """Write the page."""
    records = read("small_data")
    lines = [
        *HEAD,
        f"| data | rows | per class | seeds | {' | '.join(METHODS)} | seconds, distilled |",
        "| --- | --- | --- | --- | " + "--- | " * len(METHODS) + "--- |",
    ]
    for data in DATA:
        for ipc in sorted({record["ipc"] for record in records if record["data"] == data} - {0}):
            own = {
                method: [
                    r
                    for r in records
                    if (r["data"], r["method"]) == (data, method) and r["ipc"] in (0, ipc)
                ]
                for method in METHODS
            }
            values = [percent(found, "balanced") or "not run" for found in own.values()]
            times = [record["seconds"] for record in own["distilled"]]
            seconds = f"{np.mean(times):.0f}" if times else ""
            n_rows, n_seeds = own["random"][0]["n_rows"], len(own["random"])
            cells = [data, f"{n_rows:,}", str(ipc), str(n_seeds), *values, seconds]
            lines.append(f"| {' | '.join(cells)} |")
    write_page("small data", [*lines, ""])


def main(arguments=None):
    """Run the benchmark."""
    parser = command_line(__doc__)
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--render", action="store_true", help="write the page of what was measured")
    args = parse(parser, arguments, SMOKE)
    with sandbox(args.smoke):
        if args.smoke or not args.render:
            run(args)
        if args.smoke or args.render:
            render()


if __name__ == "__main__":
    main()
