"""Give saved coresets, in raw units, to ordinary classifiers; beside random rows of the same number per class.

    python benchmarks/raw_units.py fashion_mnist_ipc1.npz fashion_mnist_ipc10.npz --final
    python benchmarks/raw_units.py --distil 1 1.5 --distil 10 3 --final

With ``--distil`` one is made first, of items for other models: rows that are not whitened, and
Adam. The coresets know all the training rows, so only the test rows can judge them: nothing is done
without ``--final``.
"""

import argparse

import numpy as np
from _common import load_fashion_mnist, machine
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from rfad_sklearn import Coreset, RFADDistiller

FOR_OTHER_MODELS = {"preprocessing": "standardize", "solver": "adam"}

MODELS = {
    "LogisticRegression": lambda: LogisticRegression(max_iter=5000),
    "SVC": lambda: SVC(),
    "KNeighborsClassifier(1)": lambda: KNeighborsClassifier(1),
}


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("coresets", nargs="*")
    parser.add_argument(
        "--distil",
        nargs=2,
        action="append",
        default=[],
        metavar=("IPC", "MINUTES"),
        help="make one for other models",
    )
    parser.add_argument("--data")
    parser.add_argument("--seeds", type=int, default=5, help="draws of random rows")
    parser.add_argument("--final", action="store_true", help="touch the test rows")
    args = parser.parse_args()
    if not args.final:
        parser.error(
            "this benchmark is made of test accuracies; give --final to touch the test rows"
        )
    print(machine())
    data = load_fashion_mnist(args.data)
    X, y = data["X_train"].reshape(60000, -1), data["y_train"]
    X_test, y_test = data["X_test"].reshape(10000, -1), data["y_test"]
    coresets = [Coreset.load(path) for path in args.coresets]
    for ipc, minutes in args.distil:
        distiller = RFADDistiller(
            int(ipc),
            image_shape=(28, 28),
            max_time=60 * float(minutes),
            random_state=0,
            **FOR_OTHER_MODELS,
        )
        coresets.append(distiller.fit(X, y).coreset_)
    for coreset in coresets:
        per_class = {label: int((coreset.y == label).sum()) for label in coreset.classes}
        print(f"{coreset}")
        for name, make in MODELS.items():
            distilled = make().fit(coreset.X, coreset.y).score(X_test, y_test)
            scores = []
            for seed in range(args.seeds):
                rng = np.random.default_rng(seed)
                rows = np.concatenate(
                    [
                        rng.choice(np.flatnonzero(y == c), n, replace=False)
                        for c, n in per_class.items()
                    ]
                )
                scores.append(make().fit(X[rows].astype(np.float32), y[rows]).score(X_test, y_test))
            print(
                f"  {name:<24} coreset {distilled:.3f}   random rows {np.mean(scores):.3f} +- {np.std(scores):.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
