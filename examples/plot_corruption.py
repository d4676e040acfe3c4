"""
Hide what the rows looked like
==============================

A share of each item's pixels stays noise for good. This hides the look of the training rows; it is
no guarantee of privacy.
"""

# %% Coresets of two digits per class, with none, half and four fifths of the pixels frozen at
# noise. An 8x8 image has few pixels to spare; large images lose less.

from sklearn.model_selection import train_test_split

from rfad_sklearn import CoresetDisplay, NNGPKernelRidge, RFADDistiller
from rfad_sklearn.datasets import load_digits_images

X, y = load_digits_images()
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

coresets = {}
for corruption in (0.0, 0.5, 0.8):
    distiller = RFADDistiller(
        ipc=2, corruption=corruption, init="noise", max_iter=250, random_state=0
    ).fit(X_train, y_train)
    coresets[corruption] = distiller.coreset_
    accuracy = NNGPKernelRidge(random_state=0).fit_coreset(distiller.coreset_).score(X_test, y_test)
    print(f"{corruption:.0%} frozen: test accuracy {accuracy:.3f}")

# %%
# Nothing frozen:

CoresetDisplay.from_coreset(coresets[0.0])

# %%
# Half of the pixels frozen:

CoresetDisplay.from_coreset(coresets[0.5])

# %%
# Four of five frozen:

CoresetDisplay.from_coreset(coresets[0.8])

# %% The mask is part of the coreset, and of its file. That an item looks like noise does not mean
# that nothing can be learned from it about the rows: see the page on privacy.

print(coresets[0.8].corruption_mask.mean(axis=1).round(2))
