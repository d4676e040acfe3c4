"""Accuracy of a coreset by kernel ridge regression: exact, or by random features."""

import numpy as np

from rfad_sklearn import ConvNet, NNGPKernelRidge

# Rows that stand for all of them where the exact kernel would take too long, always the same ones.
FEW_ROWS = 1000
# Training rows that the scale is fitted on.
_SCALE_ROWS = 512


def few_rows(n, n_chosen=FEW_ROWS):
    """The same row numbers of n, whatever is evaluated on them."""
    return np.random.default_rng(0).permutation(n)[:n_chosen]


def exact_accuracy(coreset, kernel, X, y, X_eval, y_eval, n_pairs):
    """Accuracy by the exact kernel, and the numbers of the rows that it was measured on.

    These are all rows, or a few where all would be more than ``n_pairs`` pairs of row and item.
    """
    n = len(X_eval) if coreset.n_items * len(X_eval) <= n_pairs else FEW_ROWS
    chosen = few_rows(len(X_eval), n)
    # The accuracy does not depend on the scale: a few training rows satisfy the refit that another
    # kernel requires.
    clf = NNGPKernelRidge(kernel=kernel, kernel_method="exact").fit_coreset(
        coreset, X[:_SCALE_ROWS], y[:_SCALE_ROWS]
    )
    return float((clf.predict(X_eval[chosen]) == y_eval[chosen]).mean()), chosen


def feature_classifier(coreset, *, n_networks, width, random_state):
    """Classifier of a coreset of images by random networks of this width."""
    return NNGPKernelRidge(
        kernel_method="random_features",
        architecture=ConvNet(width=width),
        n_networks=n_networks,
        random_state=random_state,
    ).fit_coreset(coreset)


def percent(records, field, *, digits=1):
    """Mean in %, and the standard deviation of several; empty where nothing was measured."""
    values = 100 * np.array([record[field] for record in records if field in record])
    if not len(values):
        return ""
    spread = f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{spread}"
