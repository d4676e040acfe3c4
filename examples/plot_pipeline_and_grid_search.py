"""
Pipelines and grid searches
===========================

The distiller is a transformer and lives inside a classifier: both fit into scikit-learn's tools.
"""

# %% In a pipeline, ``transform`` gives one row of features per row of X, as ``Nystroem`` does: the
# kernel with the coreset, whitened, centred, and of a size that linear models learn from by their
# defaults.

from tempfile import TemporaryDirectory

from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rfad_sklearn import NNGPKernelRidge, RFADDistiller

X, y = load_wine(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

pipeline = make_pipeline(
    StandardScaler(), RFADDistiller(ipc=5, max_iter=200, random_state=0), LogisticRegression()
)
print(f"pipeline: {pipeline.fit(X_train, y_train).score(X_test, y_test):.3f}")

# %% As the ``distiller`` of :class:`~rfad_sklearn.NNGPKernelRidge` it is searched over. With
# ``memory`` each coreset is distilled once, however many values of ``reg`` are tried on it.

with TemporaryDirectory() as memory:
    search = GridSearchCV(
        NNGPKernelRidge(distiller=RFADDistiller(max_iter=200, random_state=0), memory=memory),
        {"distiller__ipc": [1, 3], "reg": [1e-4, 5e-3]},
        cv=3,
    )
    search.fit(X_train, y_train)
print(f"best: {search.best_params_}, test accuracy {search.score(X_test, y_test):.3f}")
