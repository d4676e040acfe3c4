"""
A rare class beside imbalanced-learn's samplers
===============================================

``as_sampler("auto")`` shrinks every class to the size of the rarest, whose rows stay as they are.
"""

# %%
# A table of 4,000 rows, five in a hundred of the rare class, some labels wrong.

import matplotlib.pyplot as plt
import numpy as np
from imblearn.under_sampling import ClusterCentroids, RandomUnderSampler
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from rfad_sklearn import RFADDistiller

X, y = make_classification(4000, n_informative=8, weights=[0.95], random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
print("rows of each class:", np.bincount(y_train))

# %%
# Three samplers, and two models on what each of them leaves.

samplers = {
    "RFADDistiller": RFADDistiller(random_state=0).as_sampler("auto"),
    "RandomUnderSampler": RandomUnderSampler(random_state=0),
    "ClusterCentroids": ClusterCentroids(random_state=0),
}
models = [RandomForestClassifier(random_state=0), KNeighborsClassifier()]
deviations = {"all rows": X_train[y_train == 0].std(0)}
for name, sampler in samplers.items():
    items, labels = sampler.fit_resample(X_train, y_train)
    deviations[name] = items[labels == 0].std(0)
    scores = [
        balanced_accuracy_score(y_test, model.fit(items, labels).predict(X_test))
        for model in models
    ]
    print(f"{name:20s} {np.bincount(labels)}  forest {scores[0]:.3f}  neighbours {scores[1]:.3f}")

# %%
# What the items of the common class are, and why.

plan = samplers["RFADDistiller"].distiller_.plan_
print(plan.init, "-", plan.reasons["init"])

# %%
# They have the spread of its rows; means of groups of rows are too near to the middle.

fig, ax = plt.subplots(figsize=(6, 3))
for name, values in deviations.items():
    ax.plot(np.sort(values), label=name)
ax.set_xlabel("column, sorted")
ax.set_ylabel("standard deviation of the common class")
ax.legend()
fig.tight_layout()
plt.show()
