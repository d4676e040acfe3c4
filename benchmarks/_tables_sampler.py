"""Samplers beside each other: models fitted on rebalanced rows, on tables with a rare class."""

import csv
import gzip
import time

import numpy as np
from _common import find
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from rfad_sklearn import RFADDistiller

#: Methods of this task.
METHODS = ("rfad", "RandomUnderSampler", "ClusterCentroids", "NearMiss")
#: Share of the rare class in each of the generated tables.
GENERATED = {"rare_1": 0.01, "rare_5": 0.05, "rare_20": 0.2}
# Rows and columns of a generated table, and informative columns.
_N_ROWS, _N_COLUMNS, _N_INFORMATIVE = 15000, 20, 8
# Share of the rows for evaluation; without test rows, of those that are left.
_EVAL_SHARE = 0.3
# Columns of the churn table that hold numbers; all others hold words.
_NUMBERS = ("tenure", "monthly_charges", "total_charges")


def load_imbalanced(name, args):
    """Rows with a rare class 1: ``X, y, X_eval, y_eval``."""
    if args.smoke:
        X, y = make_classification(400, _N_COLUMNS, weights=[0.8], random_state=0)
    elif name in GENERATED:
        X, y = make_classification(
            _N_ROWS,
            _N_COLUMNS,
            n_informative=_N_INFORMATIVE,
            weights=[1 - GENERATED[name]],
            random_state=0,
        )
    else:
        X, y = _churn(args)
    split = {"test_size": _EVAL_SHARE, "random_state": 0}
    X, X_eval, y, y_eval = train_test_split(X, y, stratify=y, **split)
    if not args.final:
        X, X_eval, y, y_eval = train_test_split(X, y, stratify=y, **split)
    return X, y, X_eval, y_eval


def _churn(args):
    """Customers who left: one-hot words, and numbers; without the few rows that have gaps."""
    path = find("wa_churn.csv.gz", f"{args.folder}/wa_churn.csv.gz")
    if not path:
        raise SystemExit("wa_churn.csv.gz was not found; give its --folder.")
    with gzip.open(path, "rt", newline="") as file:
        records = [row for row in csv.DictReader(file) if row["total_charges"] not in ("", "NA")]
    words = [name for name in records[0] if name not in (*_NUMBERS, "churn")]
    one_hot = OneHotEncoder(drop="if_binary", sparse_output=False)
    X = np.hstack(
        [
            [[float(row[name]) for name in _NUMBERS] for row in records],
            one_hot.fit_transform([[row[name] for name in words] for row in records]),
        ]
    )
    return X, np.array([int(row["churn"] == "Yes") for row in records])


def _sampler(method, seed, max_iter):
    """A sampler that leaves as many of the common class as there are of the rare one."""
    if method == "rfad":
        return RFADDistiller(max_iter=max_iter, random_state=seed).as_sampler("auto")
    from imblearn import under_sampling

    settings = {} if method == "NearMiss" else {"random_state": seed}
    return getattr(under_sampling, method)(**settings)


def sampler(cell, data, args):
    """Balanced accuracy and area under the ROC curve in %, on the mean over four models."""
    X, y, X_eval, y_eval = data
    scaler = StandardScaler().fit(X)
    # The others compare distances in the units that they are given.
    own = cell["method"] == "rfad"
    begin, cpu = time.monotonic(), time.process_time()
    method = _sampler(cell["method"], cell["seed"], args.max_iter)
    items, labels = method.fit_resample(X if own else scaler.transform(X), y)
    seconds, cpu_seconds = time.monotonic() - begin, time.process_time() - cpu
    items, rows = scaler.transform(items) if own else items, scaler.transform(X_eval)
    scores = {}
    for model in (
        LogisticRegression(max_iter=1000),
        RandomForestClassifier(random_state=cell["seed"]),
        HistGradientBoostingClassifier(random_state=cell["seed"]),
        KNeighborsClassifier(),
    ):
        model.fit(items, labels)
        accuracy = balanced_accuracy_score(y_eval, model.predict(rows))
        auc = roc_auc_score(y_eval, model.predict_proba(rows)[:, 1])
        scores[type(model).__name__] = [round(100 * accuracy, 2), round(100 * auc, 2)]
    accuracy, auc = np.mean(list(scores.values()), axis=0).round(2).tolist()
    return {
        "n_items": len(labels),
        "balanced_accuracy": accuracy,
        "roc_auc": auc,
        "models": scores,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
    }
