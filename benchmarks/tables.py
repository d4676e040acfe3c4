"""Tables as people have them: features for linear models, weights, skewed columns, samplers.

A cell is a task, a data set, a method and a seed; what it gives is appended at once to
``benchmarks/results/tables.jsonl``, and cells that are there are not run again. ``--render`` writes
``docs/notes/tables.md``. Without ``--final`` nothing touches the test rows: a part of the training
rows is for evaluation::

    python benchmarks/tables.py --task features --data digits satellite --folder data --final
    python benchmarks/tables.py --task weights --data shuttle --folder data --final
    python benchmarks/tables.py --task skew --data skewed spam shuttle --folder data --final
    python benchmarks/tables.py --task class_weight --data shuttle "one in a thousand" \
        --folder data --final
    python benchmarks/tables.py --task sampler --data wa_churn rare_1 rare_5 rare_20 \
        --folder data --final
    python benchmarks/tables.py --task churn --data wa_churn --folder data --final
    python benchmarks/tables.py --render

*features*: accuracy of logistic regression by its defaults on features of a distiller, ten items
per class, and on those of ``Nystroem`` behind a ``StandardScaler`` with as many components and ten
times as many. *weights*: log loss of logistic regression on items for any model, twenty per class,
with the weights of the items and without, and on all rows. *skew*: accuracy and balanced accuracy
of ``NNGPKernelRidge`` on ten items per class, by ``preprocessing``; ``skewed`` is generated.
*class_weight*: balanced accuracy of kernel ridge regression on five items per class, by class
weights and without, and on as many k-means rows. *sampler*: balanced accuracy and area under the
ROC curve, on the mean over four models fitted on rebalanced rows; ``rare_5`` is a generated table
with a class of 5 %. *churn*: the same two of models that take categories, on items, rows and
centroids.
"""

import time
import warnings
from pathlib import Path

import _tables_churn
import _tables_class_weight
import _tables_skew
import numpy as np
from _common import command_line, load, load_table, machine, parse
from _results import append, missing, read, sandbox, write_page
from _tables_sampler import METHODS, load_imbalanced, sampler
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rfad_sklearn import RFADDistiller

TASKS = {
    "features": {"rfad": 1, "nystroem": 1, "nystroem of ten times as many": 10},
    "weights": {"weighted": None, "unweighted": None, "all rows": None},
    "skew": _tables_skew.METHODS,
    "class_weight": _tables_class_weight.METHODS,
    "sampler": dict.fromkeys(METHODS),
    "churn": _tables_churn.METHODS,
}
# Items per class, one number or several.
IPC = {
    "features": [10],
    "weights": [20],
    "skew": [_tables_skew.IPC],
    "class_weight": [5],
    "sampler": [None],
    "churn": list(_tables_churn.IPC),
}
# The seed is one that no recorded cell has, so that something is measured.
SMOKE = {
    "task": list(TASKS),
    "data": ["digits"],
    "seeds": [987],
    "max_iter": 2,
    "ipc": 1,
}
# Coresets by data set, seed and items per class.
_coresets = {}
HEAD = [
    "# Tables\n",
    "Written by `python benchmarks/tables.py --render` from `benchmarks/results/tables.jsonl`, "
    "whose lines say machine and seconds. Mean and deviation over seeds, test rows.\n",
]


def features(cell, data, args):
    """Accuracy in % of logistic regression on features, and what it took."""
    X, y, X_eval, y_eval = data
    method, seed, ipc = cell["method"], cell["seed"], cell["ipc"]
    if method == "rfad":
        mapper = RFADDistiller(ipc, max_iter=args.max_iter, random_state=seed)
    else:
        n_components = min(TASKS["features"][method] * ipc * len(np.unique(y)), len(X))
        mapper = Nystroem(n_components=n_components, random_state=seed)
    steps = [mapper] if method == "rfad" else [StandardScaler(), mapper]
    begin = time.monotonic()
    model = make_pipeline(*steps, LogisticRegression()).fit(X, y)
    seconds = time.monotonic() - begin
    return {"accuracy": round(100 * model.score(X_eval, y_eval), 2), "seconds": round(seconds, 1)}


def weights(cell, data, args):
    """Log loss of logistic regression on items, or on all rows."""
    X, y, X_eval, y_eval = data
    items, labels, weight = X, y, None
    if cell["method"] != "all rows":
        # The same items with weights and without.
        made = cell["data"], cell["seed"], cell["ipc"]
        if made not in _coresets:
            settings = {"max_iter": args.max_iter, "random_state": cell["seed"]}
            distiller = RFADDistiller(cell["ipc"], downstream="any", **settings)
            _coresets[made] = distiller.fit(X, y).coreset_
        items, labels = _coresets[made].X, _coresets[made].y
        weight = _coresets[made].sample_weight if cell["method"] == "weighted" else None
    scaler = StandardScaler().fit(X)
    model = LogisticRegression(max_iter=1000)
    model.fit(scaler.transform(items), labels, sample_weight=weight)
    probabilities = model.predict_proba(scaler.transform(X_eval))
    return {"log_loss": round(log_loss(y_eval, probabilities, labels=model.classes_), 4)}


def load_flat(name, args):
    """Flat rows of a data set: ``X, y, X_eval, y_eval``."""
    if name == "digits":
        X, y, X_eval, y_eval = load(name, final=args.final, smoke=args.smoke)
        return X.reshape(len(X), -1), y, X_eval.reshape(len(X_eval), -1), y_eval
    if name == _tables_skew.GENERATED:
        return _tables_skew.generated_table(args.final)
    return load_table(name, Path(args.folder) / f"{name}.npz", args.final)


def load_cell(cell, args):
    """Rows of a cell's data set."""
    if cell["data"] == _tables_class_weight.GENERATED:
        return _tables_class_weight.generated(cell)
    if cell["task"] == "sampler":
        return load_imbalanced(cell["data"], args)
    if cell["task"] == "churn":
        return _tables_churn.load_frame(Path(args.folder) / f"{cell['data']}.csv.gz", args)
    return load_flat(cell["data"], args)


def run(args):
    """Measure what is missing."""
    measure = {
        "features": features,
        "weights": weights,
        "skew": _tables_skew.skew,
        "class_weight": _tables_class_weight.class_weight,
        "sampler": sampler,
        "churn": _tables_churn.measure,
    }
    cells = (
        {
            "task": task,
            "data": name,
            "ipc": ipc,
            "method": method,
            "seed": seed,
            "max_iter": args.max_iter,
            "final": args.final,
        }
        for task in args.task
        for name in args.data
        for ipc in ([args.ipc] if args.ipc else IPC[task])
        for seed in args.seeds
        for method in TASKS[task]
    )
    for cell in missing("tables", cells):
        with warnings.catch_warnings():
            # Of models that have not converged.
            warnings.simplefilter("ignore")
            result = measure[cell["task"]](cell, load_cell(cell, args), args)
        append("tables", {**cell, **result, "machine": machine()})
        where = f"{cell['data']} {cell['task']} {cell['method']} seed {cell['seed']}"
        print(f"{where}: {result}", flush=True)


def write_pages():
    """Write the page from the file of cells."""
    records, parts = [record for record in read("tables") if record["final"]], list(HEAD)
    for task, figure, heading in [
        ("features", "accuracy", "Logistic regression on features, accuracy in %"),
        ("weights", "log_loss", "Logistic regression on items, log loss"),
        ("skew", "accuracy", "NNGP on items, by preprocessing, accuracy in %"),
        ("skew", "balanced_accuracy", "NNGP on items, by preprocessing, balanced accuracy in %"),
        (
            "class_weight",
            "balanced_accuracy",
            "Classes of very different size, balanced accuracy in % of kernel ridge regression",
        ),
        (
            "sampler",
            "balanced_accuracy",
            "Samplers, balanced accuracy in % (seconds of one CPU core)",
        ),
        ("sampler", "roc_auc", "Samplers, area under the ROC curve in %"),
        ("churn", "balanced_accuracy", "A table with categories, balanced accuracy in %"),
        ("churn", "roc_auc", "A table with categories, area under the ROC curve in %"),
    ]:
        methods = TASKS[task]
        parts += [f"\n## {heading}\n", f"| | {' | '.join(methods)} |"]
        parts.append(f"|{' --- |' * (len(methods) + 1)}")
        rows = [(r["data"], r["ipc"]) for r in records if r["task"] == task]
        for data, ipc in dict.fromkeys(row for row in rows if row[1] in IPC[task]):
            cells = []
            for method in methods:
                found = [
                    r
                    for r in records
                    if (r["task"], r["data"], r["method"]) == (task, data, method)
                    and (r["ipc"], r["max_iter"]) == (ipc, None)
                ]
                values = [r[figure] for r in found]
                text = f"{np.mean(values):.3g} ± {np.std(values):.2g}" if values else ""
                if values and "seconds" in found[0]:
                    taken = [r.get("cpu_seconds", r["seconds"]) for r in found]
                    text += f" ({np.mean(taken):.0f} s)"
                cells.append(text)
            label = data if len(IPC[task]) == 1 else f"{data}, {ipc} per class"
            parts.append(f"| {label} | {' | '.join(cells)} |")
    write_page("tables", parts)


def main(arguments=None):
    """Measure, or render what was measured."""
    parser = command_line(__doc__)
    parser.add_argument("--task", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--data", nargs="+", default=["digits"], help="digits, or names of tables")
    parser.add_argument("--folder", default="data", help="of the tables' files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ipc", type=int, help="items per class")
    parser.add_argument("--max-iter", type=int, help="steps of the distillers")
    parser.add_argument("--final", action="store_true", help="evaluate on the test rows")
    parser.add_argument("--render", action="store_true", help="write the page")
    args = parse(parser, arguments, SMOKE)
    with sandbox(args.smoke):
        if not args.render:
            run(args)
        if args.render or args.smoke:
            write_pages()


if __name__ == "__main__":
    main()
