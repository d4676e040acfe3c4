"""Log loss and calibration error of ``predict_proba``, before and after the refit of the scale.

Measured on rows that the distiller never saw: a split of the digits, and training rows of
Fashion-MNIST::

    python benchmarks/calibration.py
"""

import numpy as np
from _common import SMOKE_SETTINGS, command_line, find, load, load_fashion_mnist, machine, parse
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from rfad_sklearn import NNGPKernelRidge, RFADDistiller
from rfad_sklearn.datasets import load_digits_images

# Rows of Fashion-MNIST, and how many of them are for evaluation.
_N_ROWS = 14000
_N_EVAL_ROWS = 4000
SMOKE = {"ipc": [1], "losses": ["cross_entropy"]}


def calibration_error(y, probabilities, classes, n_bins=15):
    """Expected calibration error of the top class (Guo et al. 2017, eq. 3)."""
    confidence, correct = probabilities.max(1), classes[probabilities.argmax(1)] == y
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    return sum(
        (bins == b).mean() * abs(correct[bins == b].mean() - confidence[bins == b].mean())
        for b in np.unique(bins)
    )


def data_sets(args):
    """Name, rows to distil, rows for evaluation, and their labels in the same order."""
    if args.smoke:
        X, y, X_eval, y_eval = load("digits", smoke=True)
        yield "digits", X, X_eval, y, y_eval
        return
    X, y = load_digits_images()
    yield "digits", *train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    if find("fashion_mnist.npz", args.data):
        data = load_fashion_mnist(args.data)
        X, y = data["X_train"], data["y_train"]
        kept, _, labels, _ = train_test_split(X, y, train_size=_N_ROWS, stratify=y, random_state=0)
        parts = train_test_split(
            kept, labels, test_size=_N_EVAL_ROWS, stratify=labels, random_state=0
        )
        yield "Fashion-MNIST", *parts


def measure(coreset, X_eval, y_eval):
    """Scale, log loss and calibration error: before the refit, and after it."""
    clf = NNGPKernelRidge(kernel_method="random_features", random_state=0).fit_coreset(coreset)
    for scale in (coreset.provenance["logit_scale_before_refit"], coreset.logit_scale):
        clf.logit_scale_ = scale
        P = clf.predict_proba(X_eval)
        yield (
            scale,
            log_loss(y_eval, P, labels=clf.classes_),
            calibration_error(y_eval, P, clf.classes_),
        )


def main(arguments=None):
    """Run the benchmark."""
    parser = command_line(__doc__)
    parser.add_argument("--data", help="fashion_mnist.npz")
    parser.add_argument("--max-iter", type=int, default=150)
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--losses", nargs="+", default=["cross_entropy", "mse"])
    args = parse(parser, arguments, SMOKE)
    settings = SMOKE_SETTINGS if args.smoke else {"max_iter": args.max_iter, "random_state": 0}
    print(machine())
    print(
        f"{settings['max_iter']} steps; scale, log loss and expected calibration error, "
        "before -> after the refit"
    )
    for name, X, X_eval, y, y_eval in data_sets(args):
        for ipc in args.ipc:
            for loss in args.losses:
                distiller = RFADDistiller(ipc=ipc, loss=loss, **settings).fit(X, y)
                before, after = measure(distiller.coreset_, X_eval, y_eval)
                cells = "   ".join(
                    f"{b:8.3f} -> {a:8.3f}" for b, a in zip(before, after, strict=True)
                )
                print(f"{name:<14} ipc={ipc:<3} loss={loss:<13} {cells}", flush=True)


if __name__ == "__main__":
    main()
