"""
A rare class: weights, a score and held-out rows of its own
===========================================================

Where one row in thirty is what matters, accuracy says little.
"""

# %%
# By ``class_weight`` both classes count the same, in the loss and in the evaluation by held-out
# rows. These are rows of our own here, and ``scoring`` says by which score: that of the state that
# is kept stands in the last column. Without weights most rare rows are taken for frequent ones.

from sklearn.datasets import make_classification
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split

from rfad_sklearn import NNGPKernelRidge, RFADDistiller

X, y = make_classification(4000, weights=[0.97], flip_y=0.01, random_state=0)
X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
X, X_val, y, y_val = train_test_split(X, y, stratify=y, random_state=0)

SETTINGS = {
    "as it is": {},
    "class_weight": {"class_weight": "balanced"},
    "class_weight, scoring": {"class_weight": "balanced", "scoring": "roc_auc"},
}
print(f"{'':24s}balanced accuracy  ROC AUC  held-out score")
for name, settings in SETTINGS.items():
    distiller = RFADDistiller(ipc=5, max_iter=100, random_state=0, **settings)
    coreset = distiller.fit(X, y, X_val, y_val).coreset_
    clf = NNGPKernelRidge().fit_coreset(coreset)
    balanced = balanced_accuracy_score(y_test, clf.predict(X_test))
    area = roc_auc_score(y_test, clf.predict_proba(X_test)[:, 1])
    print(f"{name:24s}{balanced:17.3f}{area:9.3f}{distiller.best_validation_score_:16.3f}")

# %%
# More items later: those that are there stay where they are at first, the others start as rows.

more = RFADDistiller(
    ipc=8, max_iter=100, class_weight="balanced", init=coreset, random_state=0
).fit(X, y, X_val, y_val)
print(more.plan_.reasons["init"])
clf = NNGPKernelRidge().fit_coreset(more.coreset_)
print(f"balanced accuracy: {balanced_accuracy_score(y_test, clf.predict(X_test)):.3f}")
