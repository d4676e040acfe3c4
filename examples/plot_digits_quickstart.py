"""
Distil the digits
=================

Ten synthetic images, one per class, stand for 1,347 real ones.
"""

# %% The digits of scikit-learn are 8x8 images. A coreset of one image per class is made by one
# ``fit``.

from sklearn.model_selection import train_test_split

from rfad_sklearn import Coreset, CoresetDisplay, NNGPKernelRidge, RFADDistiller
from rfad_sklearn.datasets import load_digits_images

X, y = load_digits_images()
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

distiller = RFADDistiller(ipc=1, max_iter=200, random_state=0).fit(X_train, y_train)
print(distiller.coreset_)

# %%
# The items are in the grey levels of the digits, so they can be looked at as they are.

CoresetDisplay.from_coreset(distiller.coreset_)

# %%
# The coreset is saved as plain arrays, and a classifier is fitted on the file.

path = distiller.coreset_.save("digits.npz")
classifier = NNGPKernelRidge(random_state=0).fit_coreset(Coreset.load(path))
print(f"test accuracy of 10 distilled images: {classifier.score(X_test, y_test):.3f}")

# %%
# Ten real images, chosen at random, are worth far less.

random_rows = RFADDistiller(ipc=1, max_iter=0, random_state=0).fit_resample(X_train, y_train)
baseline = NNGPKernelRidge(random_state=0).fit(*random_rows)
print(f"test accuracy of 10 random images: {baseline.score(X_test, y_test):.3f}")
path.unlink()
