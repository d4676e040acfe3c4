"""
Which method on my data?
========================

All methods have the same interface, so a comparison on your own rows is a loop.
"""

# %% A table of the breast cancer data, two items per class: real rows chosen in four ways, RFAD
# with fixed and with learned labels, KIP, and gradient matching. Each is evaluated on rows that it
# has not seen, by kernel ridge regression with the kernel that it was made for (KIP: the NTK, all
# others: the NNGP).

import time

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from rfad_sklearn import (
    CoresetSelector,
    GradientMatchingDistiller,
    KIPDistiller,
    NNGPKernelRidge,
    RFADDistiller,
)

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

methods = {
    strategy: CoresetSelector(ipc=2, strategy=strategy)
    for strategy in ("random", "kmeans", "herding", "kcenter")
}
methods |= {
    "RFAD": RFADDistiller(ipc=2, max_iter=150),
    "RFAD, learned labels": RFADDistiller(ipc=2, max_iter=150, learn_labels=True),
    "KIP": KIPDistiller(ipc=2, max_iter=50),
    "gradient matching": GradientMatchingDistiller(ipc=2, max_iter=50),
}
results = {}
for name, method in methods.items():
    begin = time.perf_counter()
    scores = []
    for seed in range(3):
        coreset = method.set_params(random_state=seed).fit(X_train, y_train).coreset_
        scores.append(
            NNGPKernelRidge(kernel=coreset.kernel).fit_coreset(coreset).score(X_test, y_test)
        )
    results[name] = scores
    seconds = (time.perf_counter() - begin) / 3
    print(f"{name:22s} {np.mean(scores):.3f} ± {np.std(scores):.3f}  {seconds:5.1f} s")

everything = NNGPKernelRidge().fit(X_train, y_train).score(X_test, y_test)
print(f"{'all rows':22s} {everything:.3f}")

# %%

import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(6, 3))
ax.barh(
    list(results),
    [np.mean(scores) for scores in results.values()],
    xerr=[np.std(scores) for scores in results.values()],
)
ax.axvline(everything, linestyle=":", color="black", label="all rows")
ax.invert_yaxis()
ax.set_xlabel("test accuracy")
ax.legend()
figure.tight_layout()
