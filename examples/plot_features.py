"""
Features for a linear model
===========================

``transform`` gives one feature for each item of the coreset: a linear model on them is as curved as
the kernel is.
"""

# %%
# Three classes in rings, which no line parts: 21 items, and as many landmarks of scikit-learn's
# ``Nystroem``, which are rows drawn at random.

from sklearn.datasets import make_gaussian_quantiles
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rfad_sklearn import RFADDistiller

X, y = make_gaussian_quantiles(n_samples=2000, n_features=8, n_classes=3, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

models = {
    "rows": [StandardScaler()],
    "Nystroem": [StandardScaler(), Nystroem(n_components=21, random_state=0)],
    "RFADDistiller": [RFADDistiller(ipc=7, max_iter=200, random_state=0)],
}
for name, steps in models.items():
    model = make_pipeline(*steps, LogisticRegression()).fit(X_train, y_train)
    print(f"logistic regression on {name}: {model.score(X_test, y_test):.3f}")
