"""
Why was this a three?
=====================

The prediction of kernel ridge regression is a sum over the items of the coreset, so the share of
each item is known.
"""

# %%
# Three synthetic digits per class.

from sklearn.model_selection import train_test_split

from rfad_sklearn import ExplanationDisplay, NNGPKernelRidge, RFADDistiller
from rfad_sklearn.datasets import load_digits_images

X, y = load_digits_images()
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

distiller = RFADDistiller(ipc=3, max_iter=150, random_state=0).fit(X_train, y_train)
classifier = NNGPKernelRidge(random_state=0).fit_coreset(distiller.coreset_)
print(f"test accuracy: {classifier.score(X_test, y_test):.3f}")

# %%
# ``explain`` gives what each item adds to the score of each class. The parts sum to the scores.

parts = classifier.explain(X_test)
print(parts.shape, abs(parts.sum(axis=1) - classifier.decision_function(X_test)).max())

# %% The picture shows a test image, the items that speak most for the predicted class (blue) and
# those that speak most against it (red).

ExplanationDisplay.from_estimator(classifier, X_test[0])

# %%
# An image that is misclassified, or else the one with the smallest margin: its items disagree.

scores = classifier.decision_function(X_test)
margin = scores[range(len(y_test)), y_test] - (
    scores - 1e9 * (classifier.classes_ == y_test[:, None])
).max(axis=1)
hardest = margin.argmin()
print(f"true class {y_test[hardest]}, predicted {classifier.predict(X_test[[hardest]])[0]}")
ExplanationDisplay.from_estimator(classifier, X_test[hardest])

# %% What does a synthetic digit stand for? For the training rows that the kernel finds most similar
# to it. One row per item of the class 3: the item itself, then its five nearest training images.

import matplotlib.pyplot as plt

similarities, rows = classifier.nearest_rows(X_train, n_rows=5)
items = [item for item, label in enumerate(distiller.coreset_.y) if label == 3]
figure, axes = plt.subplots(len(items), 6, figsize=(6, 3))
for item, line in zip(items, axes, strict=True):
    for ax, image in zip(
        line, [distiller.coreset_.images[item], *X_train[rows[item]]], strict=True
    ):
        ax.imshow(image, cmap="gray")
        ax.axis("off")
    line[0].set_title("item", fontsize=8)
    for ax, similarity in zip(line[1:], similarities[item], strict=True):
        ax.set_title(f"{similarity:.2f}", fontsize=8)
figure.tight_layout()

# %%
# The same works for tables, as bars.

from sklearn.datasets import load_wine

X_wine, y_wine = load_wine(return_X_y=True)
wine = NNGPKernelRidge(distiller=RFADDistiller(ipc=2, max_iter=100, random_state=0)).fit(
    X_wine, y_wine
)
ExplanationDisplay.from_estimator(wine, X_wine[70], class_names=["first", "second", "third"])
