"""Distil scikit-learn's digits to 1 and 10 images per class, and compare with as many real rows.

Prints test accuracies, writes coresets and pictures to ``demo_output/``. Run by ``make demo``.
"""

import time
from pathlib import Path

import matplotlib
from sklearn.model_selection import train_test_split

from rfad_sklearn import CoresetDisplay, NNGPKernelRidge, RFADDistiller
from rfad_sklearn.datasets import load_digits_images

MAX_ITER = 400


def accuracy(X, y, X_test, y_test):
    """Test accuracy of the classifier fitted on real rows."""
    return NNGPKernelRidge(random_state=0).fit(X, y).score(X_test, y_test)


def real_rows(ipc, init, X, y):
    """Rows that the distiller would start from: no step is made."""
    return RFADDistiller(ipc=ipc, init=init, max_iter=0, random_state=0).fit_resample(X, y)


def main():
    """Run the demo."""
    matplotlib.use("agg")
    begin = time.monotonic()
    out = Path("demo_output")
    out.mkdir(exist_ok=True)
    X, y = load_digits_images()
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    everything = accuracy(X_train, y_train, X_test, y_test)
    print(
        f"digits: {len(X_train)} training and {len(X_test)} test images of 8x8 pixels, 10 classes"
    )
    print(f"{'test accuracy of NNGPKernelRidge on':<42}{'ipc=1':>8}{'ipc=10':>8}")
    table = {name: [] for name in ("random rows", "k-means rows", "distilled rows")}
    for ipc in (1, 10):
        for name, init in (("random rows", "random"), ("k-means rows", "kmeans")):
            table[name].append(accuracy(*real_rows(ipc, init, X_train, y_train), X_test, y_test))
        distiller = RFADDistiller(ipc=ipc, max_iter=MAX_ITER, random_state=0).fit(X_train, y_train)
        path = distiller.coreset_.save(out / f"digits_ipc{ipc}.npz")
        table["distilled rows"].append(
            NNGPKernelRidge(random_state=0).fit_coreset(distiller.coreset_).score(X_test, y_test)
        )
        display = CoresetDisplay.from_coreset(distiller.coreset_)
        display.figure_.savefig(path.with_suffix(".png"), dpi=120)
    for name, scores in table.items():
        print(f"  {name:<40}{scores[0]:>8.1%}{scores[1]:>8.1%}")
    print(f"  {f'all {len(X_train)} rows':<40}{everything:>8.1%}{everything:>8.1%}")
    print(f"wrote {', '.join(str(p) for p in sorted(out.glob('digits_*')))}")
    print(f"{time.monotonic() - begin:.0f} seconds")


if __name__ == "__main__":
    main()
