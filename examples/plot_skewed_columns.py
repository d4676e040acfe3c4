"""
Skewed columns
==============

Amounts and counts go over decades. Standardised, a few large numbers are all that a kernel sees;
by quantiles each column is nearly normal, and items keep to its range.
"""

# %%
# A table of two classes with three columns of amounts among eight.

import numpy as np
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split

from rfad_sklearn import NNGPKernelRidge, QuantileNormalizer, RFADDistiller

X, y = make_classification(1500, 8, n_informative=5, class_sep=1.2, shuffle=False, random_state=0)
X[:, :3] = 100 * np.exp(2 * X[:, :3])
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
print(f"amounts from {X[:, 0].min():.2g} to {X[:, 0].max():.2g}, median {np.median(X[:, 0]):.3g}")

# %%
# The map of a column: what is dense is drawn apart, outliers move near to the rest.

from matplotlib import pyplot as plt

Z = QuantileNormalizer().fit_transform(X_train)
figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
axes[0].hist(X_train[:, 0], bins=40)
axes[0].set(xlabel="amount", ylabel="rows")
axes[1].hist(Z[:, 0], bins=40)
axes[1].set(xlabel="normal score")

# %%
# By default skewed columns are mapped and the others standardised.

for preprocessing in ("standardize", "auto"):
    distiller = RFADDistiller(ipc=3, preprocessing=preprocessing, max_iter=200, random_state=0)
    coreset = distiller.fit(X_train, y_train).coreset_
    score = NNGPKernelRidge().fit_coreset(coreset).score(X_test, y_test)
    print(f"{distiller.plan_.preprocessing}: accuracy {score:.3f}")
    print(f"    amounts of items: {np.sort(coreset.X[:, 0]).round(1)}")
