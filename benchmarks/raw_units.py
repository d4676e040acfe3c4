"""Give saved coresets, in raw units, to ordinary classifiers; beside as many random rows.

With ``--distil`` one is made first, of items for other models: rows that are not whitened, and
Adam. The coresets know all the training rows, so only the test rows can evaluate them: nothing is
done without ``--final``::

    python benchmarks/raw_units.py fashion_mnist_ipc1.npz fashion_mnist_ipc10.npz --final
    python benchmarks/raw_units.py --distil 1 1.5 --distil 10 3 --final
"""

import numpy as np
from _common import SMOKE_SETTINGS, command_line, load_fashion_mnist, machine, parse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from rfad_sklearn import Coreset, RFADDistiller

FOR_OTHER_MODELS = {"preprocessing": "standardize", "solver": "adam"}
MODELS = {
    "LogisticRegression": LogisticRegression(max_iter=5000),
    "SVC": SVC(),
    "KNeighborsClassifier(1)": KNeighborsClassifier(1),
}
SMOKE = {"distil": [("1", "0")], "seeds": 1, "final": True}


def distil(ipc, minutes, X, y, image_shape, args):
    """A coreset for other models."""
    budget = {"max_time": 60 * float(minutes), "random_state": 0}
    settings = SMOKE_SETTINGS if args.smoke else budget
    return (
        RFADDistiller(int(ipc), image_shape=image_shape, **settings, **FOR_OTHER_MODELS)
        .fit(X, y)
        .coreset_
    )


def random_scores(model, per_class, X, y, X_test, y_test, seeds):
    """Test accuracy of a model of random rows, so many of each class, for each seed."""
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        rows = np.concatenate(
            [rng.choice(np.flatnonzero(y == c), n, replace=False) for c, n in per_class.items()]
        )
        yield clone(model).fit(X[rows].astype(np.float32), y[rows]).score(X_test, y_test)


def main(arguments=None):
    """Run the benchmark."""
    parser = command_line(__doc__)
    parser.add_argument("coresets", nargs="*", help="files")
    parser.add_argument(
        "--distil",
        nargs=2,
        action="append",
        default=[],
        metavar=("IPC", "MINUTES"),
        help="make one for other models",
    )
    parser.add_argument("--data", help="fashion_mnist.npz")
    parser.add_argument("--seeds", type=int, default=5, help="draws of random rows")
    parser.add_argument("--final", action="store_true", help="touch the test rows")
    args = parse(parser, arguments, SMOKE)
    if not args.final:
        parser.error(
            "this benchmark is made of test accuracies; give --final to touch the test rows"
        )
    print(machine())
    data = load_fashion_mnist(args.data, smoke=args.smoke)
    X, X_test = (data[name].reshape(len(data[name]), -1) for name in ("X_train", "X_test"))
    y, y_test = data["y_train"], data["y_test"]
    coresets = [Coreset.load(path) for path in args.coresets]
    for ipc, minutes in args.distil:
        coresets.append(distil(ipc, minutes, X, y, data["X_train"].shape[1:], args))
    for coreset in coresets:
        per_class = {label: int((coreset.y == label).sum()) for label in coreset.classes}
        print(f"{coreset}")
        for name, model in MODELS.items():
            distilled = clone(model).fit(coreset.X, coreset.y).score(X_test, y_test)
            scores = list(random_scores(model, per_class, X, y, X_test, y_test, args.seeds))
            print(
                f"  {name:<24} coreset {distilled:.3f}   "
                f"random rows {np.mean(scores):.3f} +- {np.std(scores):.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
