"""
Items that stand for more rows, and for fewer
=============================================

Items are as many of each class, rows are not: other models' probabilities need to know.
"""

# %%
# One row in ten is of the rare class, and the classes overlap. ``n_items`` is a number of all
# items, shared by the classes; with ``class_weight="balanced"`` the classes count the same.

import numpy as np
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from rfad_sklearn import RFADDistiller

X, y = make_classification(4000, 10, n_informative=5, weights=[0.9], class_sep=0.7, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
print(f"rows of each class: {np.bincount(y_train)}")
settings = {"class_weight": "balanced", "max_iter": 100, "random_state": 0}
distiller = RFADDistiller(n_items=20, downstream="any", **settings).fit(X_train, y_train)

# %%
# Other models take the classes to be equally frequent. Each item stands for as many rows as its
# ``sample_weight`` says: with it probabilities are those of the rows.

coreset = distiller.coreset_
for name, weight in (("without", None), ("with", coreset.sample_weight)):
    model = LogisticRegression().fit(coreset.X, coreset.y, sample_weight=weight)
    loss = log_loss(y_test, model.predict_proba(X_test))
    print(f"{name} sample_weight: log loss {loss:.3f}")
