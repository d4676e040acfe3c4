"""
Long runs: watch them, cut them off, go on
==========================================

A distillation that takes hours should survive a power cut.
"""

# %% With ``checkpoint`` the whole state is written to a file at every evaluation. Here a callback
# stops the run half way; a kill at any moment would do as well.

from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from sklearn.model_selection import train_test_split

from rfad_sklearn import HistoryDisplay, NNGPKernelRidge, RFADDistiller
from rfad_sklearn.datasets import load_digits_images

X, y = load_digits_images()
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

checkpoint = Path(mkdtemp()) / "run.npz"
settings = {"ipc": 1, "max_iter": 120, "eval_every": 10, "random_state": 0}


class PowerCut(Exception):
    """Raised by the callback."""


def pull_the_plug(state):
    print(state)
    if state.step == 60:
        raise PowerCut


try:
    RFADDistiller(**settings, checkpoint=checkpoint, callback=pull_the_plug).fit(X_train, y_train)
except PowerCut:
    print("cut off")

# %% The same line goes on from the file. The coreset has the same bits as one that was never cut
# off. The file of another run would be refused, and a finished run is not made again.

resumed = RFADDistiller(**settings, checkpoint=checkpoint).fit(X_train, y_train)
whole = RFADDistiller(**settings).fit(X_train, y_train)
print("same bits:", np.array_equal(resumed.coreset_.X, whole.coreset_.X))
classifier = NNGPKernelRidge(random_state=0).fit_coreset(resumed.coreset_)
print(f"test accuracy: {classifier.score(X_test, y_test):.3f}")

# %%
# The history is a list of plain dicts, one per evaluation. ``export_history`` writes it as JSON.

print(resumed.history_[-1])
HistoryDisplay.from_estimator(resumed, x="step")
