"""
Rare classes
============

Items are as many of each class, rows are not: what counts in the loss, and what a model learns of
the shares of the classes, can be said.
"""

# %%
# One row in ten is of the rare class, and the classes overlap.

import numpy as np
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.model_selection import train_test_split

from rfad_sklearn import NNGPKernelRidge, RFADDistiller

X, y = make_classification(4000, 10, n_informative=5, weights=[0.9], class_sep=0.7, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
print(f"rows of each class: {np.bincount(y_train)}")

# %%
# ``class_weight="balanced"`` makes both classes count the same, in the loss and where held-out rows
# judge. Rows are drawn by these weights, so that the rare class is in every batch.

for class_weight in (None, "balanced"):
    distiller = RFADDistiller(ipc=5, class_weight=class_weight, max_iter=200, random_state=0)
    model = NNGPKernelRidge().fit_coreset(distiller.fit(X_train, y_train).coreset_)
    score = balanced_accuracy_score(y_test, model.predict(X_test))
    print(f"class_weight={class_weight}: balanced accuracy {score:.3f}")

# %%
# ``n_items`` is a number of all items, shared by the classes. Where classes count the same, other
# models take them to be equally frequent. Each item stands for as many rows as its
# ``sample_weight`` says: with it probabilities are those of the rows.

distiller = RFADDistiller(
    n_items=20, downstream="any", class_weight="balanced", max_iter=100, random_state=0
)
coreset = distiller.fit(X_train, y_train).coreset_
for name, weight in (("without", None), ("with", coreset.sample_weight)):
    model = LogisticRegression().fit(coreset.X, coreset.y, sample_weight=weight)
    loss = log_loss(y_test, model.predict_proba(X_test))
    print(f"{name} sample_weight: log loss {loss:.3f}")
