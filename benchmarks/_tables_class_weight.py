"""Balanced accuracy of kernel ridge regression where classes are of very different size."""

import time

from sklearn.datasets import make_classification
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split

from rfad_sklearn import CoresetSelector, NNGPKernelRidge, RFADDistiller

METHODS = {
    "class_weight='balanced'": "balanced",
    "no class_weight": None,
    "k-means rows": None,
    "k-means rows alone": None,
}
# Two classes of 20,000 rows, one in a thousand of which are of the second.
GENERATED = "one in a thousand"
_TEST_SHARE = 0.25


def generated(cell):
    """Rows of the generated table: ``X, y, X_eval, y_eval``.

    A test part has five rows of the rare class: each seed has another part.
    """
    X, y = make_classification(20000, weights=[0.999], flip_y=0, class_sep=2, random_state=0)

    def split(X, y):
        return train_test_split(X, y, stratify=y, test_size=_TEST_SHARE, random_state=cell["seed"])

    X, X_test, y, y_test = split(X, y)
    if cell["final"]:
        return X, y, X_test, y_test
    X, X_eval, y, y_eval = split(X, y)
    return X, y, X_eval, y_eval


def class_weight(cell, data, args):
    """Balanced accuracy in % of kernel ridge regression on items, and what it took."""
    X, y, X_eval, y_eval = data
    if cell["method"].startswith("k-means rows"):
        estimator = CoresetSelector(cell["ipc"], strategy="kmeans", random_state=cell["seed"])
    else:
        estimator = RFADDistiller(
            cell["ipc"],
            class_weight=METHODS[cell["method"]],
            max_iter=args.max_iter,
            random_state=cell["seed"],
        )
    begin = time.monotonic()
    coreset = estimator.fit(X, y).coreset_
    seconds = time.monotonic() - begin
    model = NNGPKernelRidge(random_state=cell["seed"])
    # Alone they bring nothing from the other rows: no units, no scale.
    alone = cell["method"].endswith("alone")
    model = model.fit(coreset.X, coreset.y) if alone else model.fit_coreset(coreset)
    predicted = model.predict(X_eval)
    score = balanced_accuracy_score(y_eval, predicted)
    return {"balanced_accuracy": round(100 * score, 2), "seconds": round(seconds, 1)}
