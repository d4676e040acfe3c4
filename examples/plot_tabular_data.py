"""
A table of numbers
==================

Flat rows are distilled with the kernel of a fully connected network. Synthetic rows are in the
units of the table.
"""

# %%
# Two synthetic patients per diagnosis, in the units of the measurements.

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from rfad_sklearn import CoresetDisplay, NNGPKernelRidge, RFADDistiller

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

distiller = RFADDistiller(ipc=2, max_iter=300, random_state=0)
items, labels = distiller.fit_resample(X_train, y_train)
print(items[["mean radius", "mean area", "mean smoothness"]].assign(diagnosis=labels).round(3))

# %%
# The heat map shows them standardised.

CoresetDisplay.from_coreset(distiller.coreset_, class_names=["malignant", "benign"])

# %%
# Four rows do nearly as well as all of them.

few = NNGPKernelRidge().fit_coreset(distiller.coreset_).score(X_test, y_test)
everything = NNGPKernelRidge().fit(X_train, y_train).score(X_test, y_test)
print(f"4 synthetic rows: {few:.3f}; all {len(X_train)} rows: {everything:.3f}")
