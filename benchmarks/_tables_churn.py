"""A table with categories: items, rows and centroids in models that take them one-hot or natively.

Balanced accuracy and ROC AUC, each the mean over the models. Gaps are filled by the medians of the
training rows, for all methods. Each model is fitted on the items as a user would: with its own
encoder, and scaler where it wants one.
"""

import time

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from rfad_sklearn import CoresetSelector, NNGPKernelRidge, RFADDistiller

METHODS = {
    "random rows": "random",
    "k-means rows": "kmeans",
    "centroids": None,
    "any": None,
    "any, balanced": "balanced",
    "all rows": None,
}
IPC = (5, 20, 100)
# Draws of random rows per seed, and items per class from which boosting is fitted.
_DRAWS, _FOR_BOOSTING = 5, 100


def load_frame(path, args):
    """``X, y, X_eval, y_eval``: a quarter of the rows is for tests, else a quarter of the rest."""
    if args.smoke:
        rng = np.random.default_rng(0)
        y = pd.Series(rng.integers(2, size=80))
        X = pd.DataFrame({"amount": rng.normal(size=80) + y, "word": rng.choice(["a", "b"], 80)})
    else:
        X = pd.read_csv(path)
        y = X.pop(X.columns[0])
    text = [name for name in X if not pd.api.types.is_numeric_dtype(X[name])]
    X = X.astype(dict.fromkeys(text, "category"))
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    if not args.final:
        X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=1)
    medians = X.median(numeric_only=True)
    return X.fillna(medians), y, X_test.fillna(medians), y_test


def _one_hot(scaled):
    return make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), _categories),
        (StandardScaler() if scaled else "passthrough", _numbers),
    )


_categories = make_column_selector(dtype_include="category")
_numbers = make_column_selector(dtype_exclude="category")


def models(seed, n_rows_per_class):
    """The models, by name, of frames."""
    chosen = {
        "LR": make_pipeline(_one_hot(True), LogisticRegression(max_iter=1000)),
        "RF": make_pipeline(_one_hot(False), RandomForestClassifier(random_state=seed)),
        "SVC": make_pipeline(_one_hot(True), SVC()),
    }
    if n_rows_per_class >= _FOR_BOOSTING:
        chosen["HistGB"] = HistGradientBoostingClassifier(
            categorical_features="from_dtype", random_state=seed
        )
    return chosen


def scores(model, X_eval, y_eval):
    """Balanced accuracy and ROC AUC of a fitted model, in %."""
    decide = getattr(model, "decision_function", None)
    values = model.predict_proba(X_eval)[:, 1] if decide is None else decide(X_eval)
    accuracy = balanced_accuracy_score(y_eval, model.predict(X_eval))
    return round(100 * accuracy, 2), round(100 * roc_auc_score(y_eval, values), 2)


def _centroids(X, y, ipc, seed):
    """Centres of each class in one-hot, standardised columns, and that space."""
    space = _one_hot(True).fit(X)
    Z, centres, labels = space.transform(X), [], []
    for label in np.unique(y):
        kmeans = KMeans(ipc, n_init=1, random_state=seed).fit(Z[np.asarray(y) == label])
        centres.append(kmeans.cluster_centers_)
        labels += [label] * ipc
    return space, np.concatenate(centres), np.array(labels)


def _evaluate_centroids(X, y, X_eval, y_eval, ipc, seed):
    # Fractions of categories are no frame: models see the space of the centres itself, and
    # boosting the frame of the most frequent categories.
    space, centres, labels = _centroids(X, y, ipc, seed)
    Z_eval = space.transform(X_eval)
    found = {}
    for name, model in models(seed, ipc).items():
        if name == "HistGB":
            items = CoresetSelector(ipc, strategy="centroids", random_state=seed)
            found[name] = scores(model.fit(*items.fit_resample(X, y)), X_eval, y_eval)
        else:
            found[name] = scores(model[-1].fit(centres, labels), Z_eval, y_eval)
    ridge = NNGPKernelRidge(preprocessing=None, random_state=seed).fit(centres, labels)
    found["NNGP ridge"] = scores(ridge, Z_eval, y_eval)
    return found


def measure(cell, data, args):
    """Scores of each model, their means, and the seconds that the items took."""
    X, y, X_eval, y_eval = data
    method, seed, ipc = cell["method"], cell["seed"], cell["ipc"]
    begin = time.monotonic()
    if method == "centroids":
        found = [_evaluate_centroids(X, y, X_eval, y_eval, ipc, seed)]
        seconds = time.monotonic() - begin
    else:
        found, seconds = [], 0.0
        for draw in range(_DRAWS if method == "random rows" else 1):
            begin = time.monotonic()
            items, labels, ridge = _items(method, X, y, ipc, seed + 1000 * draw, args)
            seconds += time.monotonic() - begin
            fitted = {
                name: model.fit(items, labels)
                for name, model in models(seed, len(items) // 2).items()
                if name != "HistGB" or ipc >= _FOR_BOOSTING
            }
            fitted["NNGP ridge"] = ridge
            found.append({name: scores(m, X_eval, y_eval) for name, m in fitted.items()})
    by_model = {name: np.mean([one[name] for one in found], axis=0) for name in found[0]}
    accuracy, auc = np.mean(list(by_model.values()), axis=0)
    return {
        "balanced_accuracy": round(float(accuracy), 2),
        "roc_auc": round(float(auc), 2),
        "models": {name: np.round(pair, 2).tolist() for name, pair in by_model.items()},
        "seconds": round(seconds, 1),
    }


def _items(method, X, y, ipc, seed, args):
    """Items as a frame, their labels, and the ridge on them."""
    if method == "all rows":
        return X, y, NNGPKernelRidge(random_state=seed).fit(X, y)
    if method.startswith("any"):
        settings = {"class_weight": METHODS[method], "max_iter": args.max_iter}
        maker = RFADDistiller(ipc, random_state=seed, **settings)
    else:
        maker = CoresetSelector(ipc, strategy=METHODS[method], random_state=seed)
    items, labels = maker.fit_resample(X, y)
    return items, labels, NNGPKernelRidge(random_state=seed).fit_coreset(maker.coreset_)
