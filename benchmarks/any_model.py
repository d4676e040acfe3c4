"""Items in any model of scikit-learn: accuracy of classifiers fitted on items, methods compared.

A cell is a data set, a number of items per class, a method and a seed; what it gives, accuracy and
balanced accuracy of every classifier, bare and behind a ``StandardScaler`` fitted on real rows (on
images some behind a ``MinMaxScaler`` too), is appended at once to
``benchmarks/results/any_model.jsonl``, and cells that are there are not run again. ``--render``
writes ``docs/notes/any_model.md``, its heat map and the README's table. Without ``--final`` nothing
touches the test rows: a part of the training rows is for evaluation::

    python benchmarks/any_model.py --data fashion_mnist --ipc 1 10
    python benchmarks/any_model.py --data satellite --path data/satellite.npz --ipc 5 20 50
    python benchmarks/any_model.py --data fashion_mnist --rows 30 100 300 1000
    python benchmarks/any_model.py --render

``--rows`` takes random rows, so many per class: how many of them an item is worth.
"""

import time
import warnings

import numpy as np
from _any_model_render import FRONT, IMAGES, write_pages
from _common import SMOKE_SETTINGS, command_line, load, load_table, machine, parse
from _results import append, missing, sandbox
from sklearn.base import clone
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from rfad_sklearn import (
    CoresetSelector,
    FiniteNetworkClassifier,
    NNGPKernelRidge,
    RFADDistiller,
)

# Real rows, or means of them, by the strategy of the selector.
SELECTED = ("random", "kmeans", "centroids", "herding")
DISTILLED = ("nngp", "any")
METHODS = (*SELECTED, *DISTILLED, "all")
MODELS = {
    "LogisticRegression": LogisticRegression(max_iter=1000),
    "LinearSVC": LinearSVC(),
    "SVC": SVC(),
    "1-NN": KNeighborsClassifier(1),
    "3-NN": KNeighborsClassifier(3),
    "GaussianNB": GaussianNB(),
    "DecisionTree": DecisionTreeClassifier(random_state=0),
    "RandomForest": RandomForestClassifier(200, random_state=0),
    "ExtraTrees": ExtraTreesClassifier(200, random_state=0),
    "GradientBoosting": GradientBoostingClassifier(random_state=0),
    "HistGradientBoosting": HistGradientBoostingClassifier(random_state=0),
    "MLP": MLPClassifier(max_iter=600, random_state=0),
}
# Models of this library, which see images as images and scale by themselves.
OWN_MODELS = {
    "NNGPKernelRidge": NNGPKernelRidge(random_state=0),
    "FiniteNetwork": FiniteNetworkClassifier(random_state=0),
}
# Bare images are divided by this: what their users do.
_BYTE = 255
# Rows of "all" for models that cannot take more.
_MOST_ROWS = 10_000
# Rows that a model of this library predicts.
_OWN_ROWS = 2_000
# The seed is one that no recorded cell has, so that something is measured.
SMOKE = {
    "data": "digits",
    "ipc": [2],
    "seeds": [987],
    "methods": ["centroids", "any"],
    "models": ["1-NN", "RandomForest"],
    "max_iter": 2,
}


def load_data(args):
    """Rows and labels of a data set: ``X, y, X_eval, y_eval``."""
    if args.data not in IMAGES:
        return load_table(args.data, args.path, args.final)
    X, y, X_eval, y_eval = load(args.data, args.path, final=args.final, smoke=args.smoke)
    if args.data == "digits":
        # Grey levels from 0 to 16 that are stored as floats.
        X, X_eval = X.astype(np.uint8), X_eval.astype(np.uint8)
    return X, y, X_eval, y_eval


def items_of(cell, X, y, args):
    """Items and labels of a cell, in the layout of X, and the coreset where there is one."""
    method, settings = cell["method"], {"ipc": cell["ipc"], "random_state": cell["seed"]}
    if method == "all":
        return X, y, None
    if method in SELECTED:
        maker = CoresetSelector(strategy=method, **settings)
    else:
        if args.smoke and method == "nngp":
            settings |= SMOKE_SETTINGS
        budget = {"max_iter": args.max_iter, "max_time": args.max_time}
        maker = RFADDistiller(downstream=method, **settings, **budget)
    coreset = maker.fit(X, y).coreset_
    return coreset.X.reshape(-1, *X.shape[1:]), coreset.y, coreset


def scores_of(model, X, y, X_eval, y_eval, coreset=None):
    """Accuracy and balanced accuracy in %; None where the model cannot be fitted."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # Of models that have not converged, and of classes that are never predicted.
        warnings.simplefilter("ignore")
        try:
            model = clone(model)
            fitted = model.fit(X, y) if coreset is None else model.fit_coreset(coreset)
            predicted = fitted.predict(X_eval)
        except ValueError:
            return None
        return [
            round(100 * score(y_eval, predicted), 2)
            for score in (accuracy_score, balanced_accuracy_score)
        ]


def evaluate(items, labels, coreset, data, args):
    """Scores of every classifier on some items, by its name.

    Behind a ``StandardScaler`` fitted on real rows with a plus, behind a ``MinMaxScaler`` with a
    tilde.
    """
    X, _, X_eval, y_eval = data

    def flat(rows):
        return rows.reshape(len(rows), -1).astype(np.float64)

    images = X.ndim > 2
    factor = _BYTE if images and X.max() > 16 else 1
    views = {"": (flat(items) / factor, flat(X_eval) / factor)}
    for mark, scaler in (("+", StandardScaler()), ("~", MinMaxScaler())):
        scaler.fit(flat(X))
        views[mark] = scaler.transform(flat(items)), scaler.transform(flat(X_eval))
    out = {}
    for name in args.models:
        if name in MODELS:
            for mark, (rows, rows_eval) in views.items():
                if mark == "~" and not (images and name in FRONT):
                    continue
                takes_all = name.endswith(("Trees", "Forest", "NN"))
                n = len(rows) if takes_all else _MOST_ROWS
                out[name + mark] = scores_of(MODELS[name], rows[:n], labels[:n], rows_eval, y_eval)
        elif images or name != "FiniteNetwork":
            rows, few = items[:_MOST_ROWS], labels[:_MOST_ROWS]
            held = X_eval[:_OWN_ROWS], y_eval[:_OWN_ROWS]
            out[name] = scores_of(OWN_MODELS[name], rows, few, *held, coreset)
    return out


def cells(args):
    """All cells of the command."""
    for seed in args.seeds:
        for rows in args.rows:
            yield {"method": "random", "ipc": rows, "seed": seed}
        for ipc in [] if args.rows else args.ipc:
            for method in args.methods:
                # All rows are the same for all, and centroids and distilled items cost a seed.
                if method != "all":
                    yield {"method": method, "ipc": ipc, "seed": seed}
    if "all" in args.methods and not args.rows:
        yield {"method": "all", "ipc": None, "seed": 0}


def run(args):
    """Measure what is missing."""
    data = load_data(args)
    shuffled = np.random.default_rng(0).permutation(len(data[0]))
    data = (data[0][shuffled], data[1][shuffled], *data[2:])
    named = ({"data": args.data, "final": args.final, **cell} for cell in cells(args))
    for cell in missing("any_model", named):
        begin = time.monotonic()
        items, labels, coreset = items_of(cell, *data[:2], args)
        seconds = time.monotonic() - begin
        record = {
            **cell,
            "n_items": len(items),
            "seconds": round(seconds, 1),
            "scores": evaluate(items, labels, coreset, data, args),
            "machine": machine(),
        }
        append("any_model", record)
        means = [score[0] for score in record["scores"].values() if score is not None]
        print(
            f"{args.data} {cell['ipc']} {cell['method']} seed {cell['seed']}: "
            f"{seconds:.0f} s, mean {np.mean(means):.1f}",
            flush=True,
        )


def main(arguments=None):
    """Measure, or render what was measured."""
    parser = command_line(__doc__)
    parser.add_argument("--data", default="fashion_mnist", help="images, or the name of a table")
    parser.add_argument("--path", help="of the data file")
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--rows", type=int, nargs="+", default=[], help="random rows per class")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--models", nargs="+", default=[*MODELS, *OWN_MODELS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--max-iter", type=int, help="steps of the distillers")
    parser.add_argument("--max-time", type=float, help="seconds of the distillers")
    parser.add_argument("--final", action="store_true", help="evaluate on the test rows")
    parser.add_argument("--render", action="store_true", help="write the pages and the picture")
    args = parse(parser, arguments, SMOKE)
    with sandbox(args.smoke):
        if not args.render:
            run(args)
        if args.render or args.smoke:
            write_pages()


if __name__ == "__main__":
    main()
