"""
As an imbalanced-learn sampler
==============================

``as_sampler()`` makes a distiller a resampling step: later steps are fitted on the synthetic rows.
"""

# %%
# A number of items per class balances the classes at the same time.

from imblearn.pipeline import make_pipeline
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split

from rfad_sklearn import RFADDistiller

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

sampler = RFADDistiller(ipc=10, max_iter=200, random_state=0).as_sampler()
pipeline = make_pipeline(sampler, RandomForestClassifier(random_state=0)).fit(X_train, y_train)
print(f"{len(X_train)} rows became {pipeline[0].distiller_.coreset_.n_items}")
print(f"balanced accuracy: {balanced_accuracy_score(y_test, pipeline.predict(X_test)):.3f}")
