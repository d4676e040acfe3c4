"""RFAD against KIP on scikit-learn's digits: the same wall time, the same evaluation; labels fixed, solved and learned.

Accuracy of exact NNGP and exact NTK kernel ridge regression on a validation split of the training
rows; with ``--final`` on the test rows.

    python benchmarks/kip_digits.py --seconds 60 --seeds 3
"""

import argparse

import numpy as np
from _common import machine
from sklearn.model_selection import train_test_split

from rfad_sklearn import KIPDistiller, NNGPKernelRidge, RFADDistiller
from rfad_sklearn.datasets import load_digits_images

METHODS = {
    "RFAD": (RFADDistiller, {}),
    "KIP, NTK, mse": (KIPDistiller, {}),
    "KIP, NNGP, platt": (KIPDistiller, {"kernel": "nngp", "loss": "cross_entropy"}),
}


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--final", action="store_true", help="judge on the test rows")
    args = parser.parse_args()
    print(machine())
    X, y = load_digits_images()
    X, X_judge, y, y_judge = train_test_split(X, y, stratify=y, random_state=0)
    if not args.final:
        X, X_judge, y, y_judge = train_test_split(X, y, stratify=y, random_state=0)
    print(
        f"{args.seconds:.0f} s each, {args.seeds} seeds, mean and deviation; judged on {'test' if args.final else 'validation'} rows"
    )
    print("| ipc | method | labels | steps | NNGP | NTK |\n| --- | --- | --- | --- | --- | --- |")
    for ipc in args.ipc:
        for name, (make, settings) in METHODS.items():
            for label, learn in (("fixed", False), ("solved", "solve"), ("learned", True)):
                steps, scores = [], {"nngp": [], "ntk": []}
                for seed in range(args.seeds):
                    distiller = make(
                        ipc=ipc,
                        max_time=args.seconds,
                        learn_labels=learn,
                        random_state=seed,
                        **settings,
                    ).fit(X, y)
                    steps.append(distiller.n_iter_)
                    for kernel, values in scores.items():
                        # The accuracy does not depend on the scale, so rows to refit it on are not
                        # needed: any few will do.
                        clf = NNGPKernelRidge(kernel=kernel, kernel_method="exact").fit_coreset(
                            distiller.coreset_, X[:64], y[:64]
                        )
                        values.append(100 * clf.score(X_judge, y_judge))
                cells = [
                    f"{np.mean(values):.1f} ± {np.std(values):.1f}" for values in scores.values()
                ]
                print(
                    f"| {ipc} | {name} | {label} | {np.mean(steps):.0f} | {cells[0]} | {cells[1]} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
