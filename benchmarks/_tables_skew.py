"""Skewed columns by quantiles, standardised, and by what "auto" makes of them."""

import time

import numpy as np
from sklearn.datasets import make_classification
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split

from rfad_sklearn import NNGPKernelRidge, RFADDistiller

#: Values of ``preprocessing``.
METHODS = {"standardize": None, "quantile": None, "auto": None}
#: Items per class.
IPC = 10
#: Name of the generated table.
GENERATED = "skewed"
# Its columns, and those of them that are lognormal.
_N_COLUMNS, _N_LOGNORMAL = 30, 10
# Share of its rows that are test rows, and of the others that are for evaluation without them.
_TEST_SHARE = 0.3


def generated_table(final):
    """Rows of four classes, 60, 25, 10 and 5 %, of 30 columns, ten of which are lognormal."""
    X, y = make_classification(
        6000,
        _N_COLUMNS,
        n_informative=12,
        n_redundant=4,
        n_classes=4,
        weights=[0.6, 0.25, 0.1, 0.05],
        class_sep=1.2,
        random_state=1,
    )
    X = (X - X.mean(0)) / X.std(0)
    columns = np.random.default_rng(1).permutation(_N_COLUMNS)[:_N_LOGNORMAL]
    X[:, columns] = np.exp(2 * X[:, columns])
    for _ in range(1 if final else 2):
        X, X_eval, y, y_eval = train_test_split(
            X, y, stratify=y, test_size=_TEST_SHARE, random_state=0
        )
    return X, y, X_eval, y_eval


def skew(cell, data, args):
    """Accuracy and balanced accuracy in % of the NNGP on items, seconds, and what "auto" did."""
    X, y, X_eval, y_eval = data
    begin = time.monotonic()
    distiller = RFADDistiller(
        cell["ipc"],
        preprocessing=cell["method"],
        max_iter=args.max_iter,
        random_state=cell["seed"],
    ).fit(X, y)
    seconds = time.monotonic() - begin
    predicted = NNGPKernelRidge().fit_coreset(distiller.coreset_).predict(X_eval)
    return {
        "accuracy": round(float(100 * np.mean(predicted == y_eval)), 2),
        "balanced_accuracy": round(100 * balanced_accuracy_score(y_eval, predicted), 2),
        "seconds": round(seconds, 1),
        "preprocessing": distiller.plan_.preprocessing,
    }
