"""RFAD against KIP on scikit-learn's digits: the same wall time, the same evaluation.

Labels fixed, solved and learned; accuracy of exact NNGP and exact NTK kernel ridge regression on a
validation split of the training rows, with ``--final`` on the test rows::

    python benchmarks/kip_digits.py --seconds 60 --seeds 3
"""

import numpy as np
from _common import SMOKE_SETTINGS, command_line, load, machine, parse
from sklearn.model_selection import train_test_split

from rfad_sklearn import KIPDistiller, NNGPKernelRidge, RFADDistiller
from rfad_sklearn.datasets import load_digits_images

METHODS = {
    "RFAD": (RFADDistiller, {}),
    "KIP, NTK, mse": (KIPDistiller, {}),
    "KIP, NNGP, cross entropy": (KIPDistiller, {"kernel": "nngp", "loss": "cross_entropy"}),
}
LABELS = {"fixed": False, "solved": "solve", "learned": True}
# Rows to refit the scale on: the accuracy does not depend on it, so any few will do.
_SCALE_ROWS = 64
SMOKE = {"ipc": [1], "seeds": 1, "methods": ["RFAD"], "labels": ["solved"]}


def rows(args):
    """Rows to distil and rows for evaluation, and their labels in the same order."""
    if args.smoke:
        X, y, X_eval, y_eval = load("digits", smoke=True)
        return X, X_eval, y, y_eval
    X, y = load_digits_images()
    X, X_eval, y, y_eval = train_test_split(X, y, stratify=y, random_state=0)
    if args.final:
        return X, X_eval, y, y_eval
    return train_test_split(X, y, stratify=y, random_state=0)


def measure(method, labels, ipc, args, X, X_eval, y, y_eval):
    """Steps, and accuracies in % by both kernels, of each seed."""
    make, settings = METHODS[method]
    steps, scores = [], {"nngp": [], "ntk": []}
    for seed in range(args.seeds):
        budget = SMOKE_SETTINGS if args.smoke else {"max_time": args.seconds}
        own = {**budget, **settings, "learn_labels": LABELS[labels], "random_state": seed}
        distiller = make(ipc=ipc, **own).fit(X, y)
        steps.append(distiller.n_iter_)
        for kernel, values in scores.items():
            clf = NNGPKernelRidge(kernel=kernel, kernel_method="exact").fit_coreset(
                distiller.coreset_, X[:_SCALE_ROWS], y[:_SCALE_ROWS]
            )
            values.append(100 * clf.score(X_eval, y_eval))
    return steps, scores


def main(arguments=None):
    """Run the benchmark."""
    parser = command_line(__doc__)
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--labels", nargs="+", choices=LABELS, default=list(LABELS))
    parser.add_argument("--final", action="store_true", help="touch the test rows")
    args = parse(parser, arguments, SMOKE)
    print(machine())
    print(
        f"{args.seconds:.0f} s each, {args.seeds} seeds, mean and deviation, on "
        f"{'test' if args.final else 'validation'} rows"
    )
    print("| ipc | method | labels | steps | NNGP | NTK |\n| --- | --- | --- | --- | --- | --- |")
    split = rows(args)
    for ipc in args.ipc:
        for method in args.methods:
            for labels in args.labels:
                steps, scores = measure(method, labels, ipc, args, *split)
                cells = [f"{np.mean(v):.1f} ± {np.std(v):.1f}" for v in scores.values()]
                cells = [f"{ipc}", method, labels, f"{np.mean(steps):.0f}", *cells]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
