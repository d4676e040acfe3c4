"""Log loss and calibration error of ``predict_proba``, before and after the final refit of the scale.

Measured on rows that the distiller never saw: a split of the digits, and training rows of
Fashion-MNIST.

    python benchmarks/calibration.py
"""

import argparse

import numpy as np
from _common import find, load_fashion_mnist, machine
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from rfad_sklearn import NNGPKernelRidge, RFADDistiller
from rfad_sklearn.datasets import load_digits_images


def calibration_error(y, probabilities, classes, n_bins=15):
    """Expected calibration error of the top class (Guo et al. 2017, eq. 3)."""
    confidence, correct = probabilities.max(1), classes[probabilities.argmax(1)] == y
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    return sum(
        (bins == b).mean() * abs(correct[bins == b].mean() - confidence[bins == b].mean())
        for b in np.unique(bins)
    )


def data_sets(path):
    """Name, rows to distil, rows to judge by."""
    X, y = load_digits_images()
    yield "digits", *train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    if find("fashion_mnist.npz", path):
        data = load_fashion_mnist(path)
        kept, _, labels, _ = train_test_split(
            data["X_train"],
            data["y_train"],
            train_size=14000,
            stratify=data["y_train"],
            random_state=0,
        )
        yield (
            "Fashion-MNIST",
            *train_test_split(kept, labels, test_size=4000, stratify=labels, random_state=0),
        )


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data")
    parser.add_argument("--max-iter", type=int, default=150)
    args = parser.parse_args()
    print(machine())
    print(
        f"{args.max_iter} steps; scale, log loss and expected calibration error before -> after the refit"
    )
    for name, X, X_eval, y, y_eval in data_sets(args.data):
        for ipc in (1, 10):
            for loss in ("cross_entropy", "mse"):
                coreset = (
                    RFADDistiller(ipc=ipc, loss=loss, max_iter=args.max_iter, random_state=0)
                    .fit(X, y)
                    .coreset_
                )
                clf = NNGPKernelRidge(kernel_method="random_features", random_state=0).fit_coreset(
                    coreset
                )
                row = []
                for scale in (coreset.provenance["logit_scale_before_refit"], coreset.logit_scale):
                    clf.logit_scale_ = scale
                    P = clf.predict_proba(X_eval)
                    row.append(
                        (
                            scale,
                            log_loss(y_eval, P, labels=clf.classes_),
                            calibration_error(y_eval, P, clf.classes_),
                        )
                    )
                before, after = row
                cells = "   ".join(
                    f"{b:8.3f} -> {a:8.3f}" for b, a in zip(before, after, strict=True)
                )
                print(f"{name:<14} ipc={ipc:<3} loss={loss:<6} {cells}", flush=True)


if __name__ == "__main__":
    main()
